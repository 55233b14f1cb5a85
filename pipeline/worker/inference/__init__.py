"""What the inference threads of a worker share and leave to each other."""
