"""The dead-letter topic: records that could not be used, and why (ARCHITECTURE 5e)."""

from __future__ import annotations

from pipeline.records.wire import Message, Record

DEAD_SCHEMA = 1
KEPT_BYTES = 1024
"""How much is kept of a bad record's value, its key, and the name and value of each of its headers."""
KEPT_HEADERS = 32


def encode_dead_letter(record: Record, reason: str, message: str) -> Message:
    """Put a bad record into wire form: its own headers with the prefix `original_`, and where and why it failed."""
    ours = {
        "schema": str(DEAD_SCHEMA),
        "reason": reason,
        "message": message[:KEPT_BYTES],
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "timestamp_ms": str(record.timestamp_ms),
        "value_bytes": "none" if record.value is None else str(len(record.value)),
    }
    theirs = [(f"original_{name[:KEPT_BYTES]}", value[:KEPT_BYTES]) for name, value in record.headers[:KEPT_HEADERS]]
    key = None if record.key is None else record.key[:KEPT_BYTES]
    value = (record.value or b"")[:KEPT_BYTES]
    return Message(key, value, (*((name, text.encode()) for name, text in ours.items()), *theirs))
