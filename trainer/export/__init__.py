"""Export: from a model to a bundle."""
