"""A shadow run: a candidate scores a share of the cameras beside the bundle in use, and nobody but us hears of it."""
