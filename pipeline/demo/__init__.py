"""The demonstration: rendered cameras, every process for real, and a comparison of the events with the truth."""

WATCHED: tuple[str, ...] = (
    "a person falls down",
    "a person runs",
    "a person punches someone",
    "a person picks something up",
    "a person climbs",
    "a person crouches",
    "a person throws something",
    "a person lies still",
)
"""The labels that the demo watches for: the eight with the fewest false alarms on validation streams (seeds 10100-10129
and 10160-10227, 13 camera-hours) when they were chosen. The other actions are played too, and must not raise an event.
"""
