"""From frames topic to events topic: one process, one engine, one consumer (ARCHITECTURE 5)."""
