"""Annotations as others publish and export them, to clips: one module per form."""
