"""The training side of Actionwire: from labelled clips to a sealed bundle. The only package that imports torch."""
