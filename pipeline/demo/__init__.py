"""The demonstration: rendered cameras, every process for real, and truth held against events at the end."""

WATCHED: tuple[str, ...] = (
    "a person falls down",
    "a person runs",
    "a person punches someone",
    "two people hug",
    "a person climbs",
    "a person crouches",
    "a person throws something",
    "a person lies still",
)
"""The labels that the demo watches for. The other actions are played too: they must not raise an event."""
