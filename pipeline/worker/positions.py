"""The committed position of a partition, in the form that the broker stores."""

from __future__ import annotations

from engines.canonical import canonical_json
from engines.strict_json import parse_json
from pipeline.analysis.rewind import Committed
from pipeline.broker.contract import Position

METADATA_LIMIT = 4096
"""Bytes of metadata that a broker stores with a committed offset (`offset.metadata.max.bytes`)."""

_LARGEST = 2**63


def encode_position(committed: Committed) -> Position:
    """The broker form of a committed position: P, and {r, s, v} as metadata. Raises ValueError if that is too long."""
    metadata = canonical_json({"r": committed.rewind, "s": committed.state, "v": committed.labels}).decode()
    if len(metadata) > METADATA_LIMIT:
        raise ValueError(f"metadata of a commit has {len(metadata)} bytes, at most {METADATA_LIMIT} are stored")
    return Position(committed.position, metadata)


def decode_position(position: Position) -> Committed | None:
    """Read a committed position. None if no worker wrote it, for example if a tool moved the group.

    A tool that copies positions may end their metadata with NUL, as C strings end.
    """
    try:
        found = parse_json(position.metadata.rstrip("\0"))
        rewind, state, labels = found["r"], found["s"], found["v"]
    except (ValueError, KeyError, TypeError):
        return None
    if not all(type(number) is int and -1 <= number < _LARGEST for number in (rewind, state, labels)):
        return None
    return Committed(position.offset, rewind, state, labels) if 0 <= rewind <= position.offset else None
