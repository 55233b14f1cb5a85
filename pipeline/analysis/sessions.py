"""Which records of a camera count: sessions, late, duplicate and superseded frames, end markers (ARCHITECTURE 3c).

A session is an unbroken stretch of one camera's stream, named by ingest's wall time in ms at its start. Larger is
newer, and a newer session ends the older. Inside a session ticks only grow.

    session  100 100 100 200 100 200 200 200
    tick      7   8   8   3   9   4   2   5
              |   |   |   |   |   |   |   `- counts
              |   |   |   |   |   |   `- late
              |   |   |   |   |   `- counts
              |   |   |   |   `- superseded
              |   |   |   `- opens session 200, ends session 100
              |   |   `- duplicate
              `---`- count

Everything here is a function of the records in offset order; nothing reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pipeline.records.frames import EndMarker

Verdict: TypeAlias = Literal["opens", "continues", "superseded", "ended", "late", "duplicate", "rate"]
"""`opens` and `continues` count; every other word is the reason why a frame is dropped."""

DROPPED: tuple[Verdict, ...] = ("superseded", "ended", "late", "duplicate", "rate")


@dataclass(frozen=True, slots=True)
class Stream:
    """Where one camera's stream stands."""

    session: int
    rate: int
    """Ticks per second of the session's grid; a change of rate opens a new session."""
    last_tick: int
    """Tick of the last frame that counted."""
    ended: bool = False
    opened: int = 0
    """Offset of the record that opened the session; frames before it are of a camera that was removed since."""


def judge(stream: Stream | None, session: int, tick: int, rate: int) -> Verdict:
    """Say whether a frame counts, given where its camera's stream stands; None: the camera was never seen."""
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
    """True when an end marker applies: session and last tick are still the camera's, and the session is open.

    A camera that is removed is forgotten, also where its session had ended before.
    """
    return (
        stream is not None
        and (not stream.ended or marker.reason == "removed")
        and stream.session == marker.session
        and stream.last_tick == marker.last_tick
    )
