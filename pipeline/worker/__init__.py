"""From frames topic to events topic: one process, one engine, one consumer (DESIGN section 5)."""
