"""Where a restart begins to read: the rewind R of a partition, and the content of a commit (ARCHITECTURE 5).

P is the offset of the next record to process. Reading starts at R after a restart, far enough back that every ring is
full again before P. Frames in [R, P) only fill rings.

    offset     0  1  2  3  4  5  6  7  8  9
    camera a   .  .  .  A  .  A  .  A  .            A: within `rewind_seconds` of a's last tick, and the frame before
    camera b   .  .  .  .  .  .  B  .  B            R = min(3, 6) = 3, P = 9

A camera whose session has ended holds nothing back.

Of the frames in [R, P) a window can need only those that are in a ring at P. W is the oldest of them: of frames before
it a restart reads the headers, which decide sessions and ticks, and not the picture.

An item of a model with memory depends on L frames before its own, so a ring holds those back as well: T + L frames,
encoded again from buffers of zeros, give the same items and buffers to the bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

MOST_BAD = 100
"""Bad pictures between R and P that a commit names; where there are more, every picture is decoded again."""
NO_STATE = -1
"""s of a partition that has no state record yet."""


class Trail:
    """Accepted frames of one session that a restart may need: (tick, offset), oldest first."""

    def __init__(self, rewind_ticks: int, multiple: int, holds: int) -> None:
        """holds: item ticks that a missing item is filled for (`windows.Grid.holds`)."""
        self._reach = rewind_ticks
        self._multiple = multiple
        self._holds = holds
        self._frames: deque[tuple[int, int]] = deque()
        self._anchors: deque[int] = deque()

    def add(self, tick: int, offset: int) -> None:
        """Note an accepted frame."""
        self._frames.append((tick, offset))
        if tick % self._multiple == 0:
            self._anchors.append(tick)
        elif self._anchors and (tick - self._anchors[-1]) // self._multiple > self._holds:
            self._anchors.clear()  # the gap is too long: the last item no longer fills a missing tick
        # Also keep the last item frame before the reach: it may fill a missing tick at the start of the reach.
        while len(self._anchors) > 1 and self._anchors[1] <= tick - self._reach:
            self._anchors.popleft()
        first = min(self._anchors[0], tick - self._reach + 1) if self._anchors else tick - self._reach + 1
        while self._frames[0][0] < first:
            self._frames.popleft()

    @property
    def oldest(self) -> int | None:
        """Offset of the oldest frame that is still needed."""
        return self._frames[0][1] if self._frames else None


def rewind(position: int, oldest: Iterable[int | None]) -> int:
    """R of a partition: the smallest offset that any camera with an open session still needs, else P."""
    return min((offset for offset in oldest if offset is not None), default=position)


@dataclass(frozen=True, slots=True)
class Pictures:
    """Which pictures in [R, P) a restart has to decode again."""

    since: int
    """W: no window at or after P needs a frame before this offset."""
    frames: int
    rate: int
    spread: int
    """Of the windows (`camera_streams.Geometry`) for which that is so."""
    bad: tuple[int, ...] = ()
    """Offsets in [R, P) of frames whose pictures nobody could decode: they do not count, whatever their headers say."""
    history: int = 0
    """Of a model with memory, how many frames before a window's are needed as well."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a worker commits for a partition."""

    position: int
    """P, the offset of the next record to process."""
    rewind: int
    """R, where reading starts after a restart."""
    state: int
    """Offset of this partition's last state record; -1: none was ever written."""
    labels: int
    """Version of the label set in force at P; -1: the empty set."""
    pictures: Pictures | None = None
    """None: not known, so every picture is decoded again."""
