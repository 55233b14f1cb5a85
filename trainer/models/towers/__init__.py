"""Image towers: ours, and those that people have weights of."""
