"""What a truth document may say of a camera, whoever reads it: the spans of its actions, in seconds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

from engines.canonical import words

OVERHANG_SECONDS = 1.0
"""By how much an action may begin before its recording or end after it; it is cut off there."""
_SHOWN = 60
"""Characters of a name in a message."""


@dataclass(frozen=True, slots=True)
class Span:
    """An action, in seconds from the beginning of its recording: 0 <= start < end <= the recording's length."""

    label: str
    start: float
    end: float


def spans(camera: str, seconds: float, actions: Iterable[tuple[str, float, float]]) -> list[Span]:
    """The actions of a recording, each (label, start, end), with their labels as words.

    Raises ValueError that names the camera, the action and the remedy: for a recording without a length, and for an
    action that ends before it starts, lies outside of the recording, or is not a number of seconds.
    """
    if not (isfinite(seconds) and seconds > 0):
        raise ValueError(
            f"camera {_short(camera)} lasts {seconds:g} s; give it the length of its recording as `seconds`"
        )
    return [_span(camera, seconds, *action) for action in actions]


def repeated(cameras: Sequence[str]) -> str | None:
    """The first camera that stands twice, if any: the one entry would replace the other."""
    return next((one for number, one in enumerate(cameras) if one in cameras[:number]), None)


def _span(camera: str, seconds: float, label: str, start: float, end: float) -> Span:
    what = f"camera {_short(camera)}: {_short(label)} from {start:g} to {end:g} s"
    if not (isfinite(start) and isfinite(end)):
        raise ValueError(f"{what} is no span of time; write both as numbers of seconds")
    if end <= start:
        raise ValueError(f"{what} ends before it has lasted; look whether start and end are swapped")
    if start < -OVERHANG_SECONDS or end <= 0:
        raise ValueError(f"{what} begins before its recording; count from the beginning of the recording")
    if end > seconds + OVERHANG_SECONDS or start >= seconds:
        raise ValueError(f"{what} is beyond its end of {seconds:g} s; are these milliseconds?")
    return Span(words(label), max(0.0, start), min(end, seconds))


def _short(name: str) -> str:
    return ascii(name if len(name) <= _SHOWN else name[:_SHOWN] + "...")
