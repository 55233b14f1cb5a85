"""The committed position of a partition, in the form that the broker stores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.canonical import canonical_json
from engines.strict_json import parse_json
from pipeline.analysis.rewind import MOST_BAD, Committed, Pictures
from pipeline.broker.contract import Position

METADATA_LIMIT = 4096
"""Bytes of metadata that a broker stores with a committed offset (`offset.metadata.max.bytes`)."""

_LARGEST = 2**63


def encode_position(committed: Committed) -> Position:
    """The broker form of a committed position: P, and {r, s, v, w, b} as metadata.

    w: [W, frames, rate, spread], and the history of a model with memory; b: bad pictures, counted from R. Raises
    ValueError if the metadata are too long.
    """
    document: dict[str, object] = {"r": committed.rewind, "s": committed.state, "v": committed.labels}
    if (found := committed.pictures) is not None:
        history = [found.history] if found.history else []
        document["w"] = [found.since, found.frames, found.rate, found.spread, *history]
        document["b"] = [offset - committed.rewind for offset in found.bad]
    metadata = canonical_json(document).decode()
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
    if not 0 <= rewind <= position.offset:
        return None
    return Committed(position.offset, rewind, state, labels, _pictures(found, rewind))


def _pictures(found: Mapping[str, Any], rewind: int) -> Pictures | None:
    """Which pictures are needed; None where nobody says it, as older workers, or in words that make no sense."""
    window, bad = found.get("w"), found.get("b")
    if not isinstance(window, list) or not isinstance(bad, list) or len(window) not in (4, 5) or len(bad) > MOST_BAD:
        return None
    if not all(type(number) is int and 0 <= number < _LARGEST for number in (*window, *bad)):
        return None
    since, frames, rate, spread, history = (*window, 0)[:5]
    return Pictures(since, frames, rate, spread, tuple(rewind + offset for offset in bad), history)
