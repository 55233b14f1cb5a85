"""The time line of a file, which only goes forward. Pure.

parts joined in one file    0 1 2 3 | 0 1 2 3        ->  0 1 2 3 4 5 6 7
pictures without stamps     . . . .                  ->  counted at the rate of the stream
a stamp that stands         0 1 1 1 1 5              ->  0 1 2 3 4 5
a stray stamp               0 1 9000 3               ->  0 1 . 3
a hole                      0 1 2 22                 ->  0 1 2 22, or 0 1 2 3 where the format joins parts
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pipeline.analysis.ticks import SECOND
from pipeline.camera.picture import Picture

_BACK = 3
"""Stamps that step back by more pictures than these are of another part; fewer are squeezed together."""
_HOLE = 10 * SECOND
"""Stamps that are further ahead than this, in a format whose stamps may begin anew anywhere, are of another part."""
_AGREE = 3
"""So many pictures in a row make another part; fewer are strays."""


def running_on(pictures: Iterator[Picture | None], step: int, *, joins: bool) -> Iterator[Picture | None]:
    """The pictures with time stamps that rise strictly, in nanoseconds; a stray one has None.

    step: distance of two pictures where no stamp tells it. joins: the format allows stamps to begin anew, so a far
    later stamp is another part, not a hole.
    """
    line = _Line(step, joins)
    for picture in pictures:
        if picture is None:
            yield None
        else:
            yield from line.add(picture)
    yield from line.rest()


class _Line:
    def __init__(self, step: int, joins: bool) -> None:
        self._step = step
        self._joins = joins
        self._offset = 0
        self._last: int | None = None
        self._stamped = False
        self._raw: int | None = None
        self._repeats = 0
        self._base = 0
        self._held: list[Picture] = []

    def add(self, picture: Picture) -> Iterator[Picture]:
        """What is known of the pictures so far, in their order."""
        if picture.pts is None:
            yield from self.rest()
            yield self._place(picture, self._next())
            return
        if self._last is not None and not self._stamped:  # only counted ones so far
            self._offset = self._next() - picture.pts
        self._stamped = True
        self._repeats = self._repeats + 1 if picture.pts == self._raw else 0
        stamp = self._base + self._repeats * self._step if self._repeats else picture.pts + self._offset
        if not self._astray(stamp):
            yield from self._strays()
            yield self._follow(picture, stamp)
            return
        if self._held and not -_BACK * self._step <= picture.pts - (self._held[-1].pts or 0) <= _HOLE:
            yield from self._strays()
        self._held.append(picture)
        if len(self._held) >= _AGREE:
            yield from self.rest()

    def rest(self) -> Iterator[Picture]:
        """The pictures that are held back, as another part that follows."""
        held, self._held = self._held, []
        if held:
            self._offset = self._next() - (held[0].pts or 0)
        for picture in held:
            yield self._follow(picture, (picture.pts or 0) + self._offset)

    def _strays(self) -> Iterator[Picture]:
        held, self._held = self._held, []
        yield from (replace(picture, pts=None) for picture in held)

    def _astray(self, stamp: int) -> bool:
        if self._last is None:
            return False
        return stamp < self._last - _BACK * self._step or (self._joins and stamp > self._last + _HOLE)

    def _next(self) -> int:
        return 0 if self._last is None else self._last + self._step

    def _follow(self, picture: Picture, stamp: int) -> Picture:
        stamp = stamp if self._last is None else max(stamp, self._last + 1)
        if picture.pts != self._raw:
            self._raw, self._base = picture.pts, stamp
        return self._place(picture, stamp)

    def _place(self, picture: Picture, stamp: int) -> Picture:
        self._last = stamp
        return replace(picture, pts=stamp)
