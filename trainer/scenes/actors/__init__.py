"""People: their looks, their motions, and the episodes they act."""
