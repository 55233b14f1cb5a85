"""People: who they are, how they move, what they do."""
