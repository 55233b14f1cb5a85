"""What real footage shows: the figures that `make real` prints, each from the parts that everybody trains with."""
