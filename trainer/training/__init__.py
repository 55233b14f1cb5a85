"""Training: sources, tasks, losses, the optimiser, the loop and its checkpoints."""
