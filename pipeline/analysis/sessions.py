"""Which records of a camera count: sessions, late, duplicate and superseded frames, end markers (ARCHITECTURE 3c).

A session is an unbroken stretch of one camera's stream. Its name is ingest's wall time in ms at its start. A larger
number is newer, and a newer session ends the older one. Within a session ticks only grow.

    session  100 100 100 200 100 200 200 200
    tick      7   8   8   3   9   4   2   5
              |   |   |   |   |   |   |   `- counts
              |   |   |   |   |   |   `- late
              |   |   |   |   |   `- counts
              |   |   |   |   `- superseded
              |   |   |   `- opens session 200, ends session 100
              |   |   `- duplicate
              `---`- count

Everything here is a function of the records in offset order. Nothing reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pipeline.records.frames import EndMarker

Verdict: TypeAlias = Literal["opens", "continues", "superseded", "ended", "late", "duplicate", "rate"]
"""Frames that open or continue a session count; every other verdict is the reason why a frame is dropped."""

DROPPED: tuple[Verdict, ...] = ("superseded", "ended", "late", "duplicate", "rate")


@dataclass(frozen=True, slots=True)
class Stream:
    """The state of one camera's stream."""

    session: int
    rate: int
    """Ticks per second of the session's grid; a change of rate opens a new session."""
    last_tick: int
    """Tick of the last frame that counted."""
    ended: bool = False
    opened: int = 0
    """Offset of the record that opened the session. Older frames belong to a camera that was removed since."""


def judge(stream: Stream | None, session: int, tick: int, rate: int) -> Verdict:
    """Decide whether a frame counts. stream: its camera's; None: the camera was never seen."""
    if stream is None or session > stream.session:
        return "opens"
    if session < stream.session:
        return "superseded"
    if stream.ended:
        return "ended"
    if rate != stream.rate:
        return "rate"
    if tick > stream.last_tick:
        return "continues"
    return "duplicate" if tick == stream.last_tick else "late"


def ends(stream: Stream | None, marker: EndMarker) -> bool:
    """True if an end marker applies: session and last tick are still the camera's, and the session is open.

    A `removed` marker applies by session alone, also to one that has ended: the camera must be forgotten, and whoever
    writes it may not know the last tick.
    """
    if stream is None or stream.session != marker.session:
        return False
    return marker.reason == "removed" or (not stream.ended and stream.last_tick == marker.last_tick)
