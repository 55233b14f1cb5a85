"""In which order frames pass a model with memory: one frame per camera and call, each after the one before it. Pure.

An item depends on the L frames before its own, through buffers that every frame leaves behind. They are kept with the
newest frame of each camera only. Where they are missing, after a restart, frames that were read again rebuild them:

    L = 2     run of a camera      a   b   c   d   e   f        f has arrived, its window is c d e f
    restart   buffers from zeros   0 > a > b > c > d > e > f    a and b only rebuild; c to f get their items
    live      buffers of e                         e > f

Whatever is far enough behind cannot show in the buffers, so the items are the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from pipeline.analysis.camera_streams import Frame


@dataclass(frozen=True, slots=True)
class Turn:
    """A frame to encode."""

    frame: Frame
    before: Frame | None
    """Whose buffers it takes; None: zeros."""
    exact: bool
    """Whether its item counts. Before that, it only rebuilds buffers."""


def turns(run: Sequence[Frame], wanted: Container[int], planned: Container[int], history: int) -> list[Turn]:
    """What to encode so that the frames of a run that are wanted have their items, in order.

    run: frames of one camera without a break, oldest first, as `camera_streams.Arrived.run` has them. wanted, planned:
    `id` of the frames that need an item, and of those that get it, and leave their buffers, before these turns.
    """
    found: list[Turn] = []
    stretch: list[Frame] = []
    """Frames that follow one another, newest first, back to where buffers are known."""
    left = 0
    for place in range(len(run) - 1, -1, -1):
        frame = run[place]
        if not stretch and (id(frame) not in wanted or id(frame) in planned):
            continue
        before = run[place - 1] if place else None
        left = history if id(frame) in wanted else left - 1
        stretch.append(frame)
        known = before is not None and (before.memory is not None or id(before) in planned)
        if known or before is None or not left:
            exact = len(stretch) if known or left else len(stretch) - history
            found[:0] = _in_order(stretch[::-1], before if known else None, exact)
            stretch = []
    return found


def _in_order(stretch: Sequence[Frame], before: Frame | None, exact: int) -> list[Turn]:
    """Each frame after the one in front of it; the last `exact` of them count."""
    places = range(len(stretch))
    follow = [before, *stretch[:-1]]
    return [Turn(stretch[place], follow[place], len(stretch) - place <= exact) for place in places]


def in_waves(cameras: Iterable[Sequence[Turn]]) -> list[list[Turn]]:
    """The first turns of all cameras, then the second ones, and so on: what may share a call."""
    sequences = [some for some in cameras if some]
    longest = max(map(len, sequences), default=0)
    return [[some[place] for some in sequences if place < len(some)] for place in range(longest)]
