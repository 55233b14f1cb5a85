"""From a model to a draft bundle."""
