"""What to leave out when there is more to do than time, and when (ARCHITECTURE 5d). Pure.

In this order, one step at a time: analyse every other item (a multiple that the bundle allows), judge fewer windows (a
longer stride; first for clip bundles, where a window is what costs), leave out cameras of low priority. A worker falls
behind when the records it takes are old and do not get younger: one that catches up after a pause is left alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pipeline.analysis.camera_streams import Geometry

OLD_SECONDS = 5.0
"""Records older than this when they are taken are a backlog."""
YOUNG_SECONDS = 1.0
RISE_SECONDS = 30.0
"""How long a backlog must last, without shrinking, before the next step is taken."""
_ENOUGH_SECONDS = 0.9 * RISE_SECONDS
"""How much of that must have been seen."""
CALM_SECONDS = 2.0
"""A worker that keeps up runs out of work at least this often."""
FALL_SECONDS = 60.0
"""How long there must be none before a step is taken back."""
SHARES = (0.25, 0.5, 0.75)
"""Parts of the cameras that are left out by the last steps; never all of them."""


@dataclass(frozen=True, slots=True)
class Relief:
    """How much is left out."""

    geometry: Geometry
    share: float = 0.0
    """Part of the cameras."""


def steps(
    geometry: Geometry, multiples: Sequence[int], strides: Sequence[int], kind: Literal["frame", "clip"]
) -> tuple[Relief, ...]:
    """Everything that may be left out, least first; the first entry leaves out nothing.

    multiples: of the bundle's own tick, as its manifest allows them; strides likewise.
    """
    spreads = [one for one in sorted(set(multiples)) if one > 1]
    longer = [one for one in sorted(set(strides)) if one > geometry.stride]
    found = [geometry]
    for name, values in (("spread", spreads), ("stride", longer))[:: 1 if kind == "frame" else -1]:
        last = found[-1]
        found += [replace(last, **{name: value}) for value in values]
    return (*map(Relief, found), *(Relief(found[-1], share) for share in SHARES))


def left_out(cameras: Mapping[str, int], share: float) -> frozenset[str]:
    """Which cameras to leave out: those of the lowest priority first, then by id.

    cameras: priority of each. share: part of them; at least one camera stays.
    """
    ranked = sorted(cameras, key=lambda camera: (cameras[camera], camera))
    return frozenset(ranked[: min(round(len(ranked) * share), max(len(ranked) - 1, 0))])


@dataclass(slots=True)
class Pressure:
    """How many steps are taken, from how old the records are. Times are monotonic seconds."""

    highest: int
    level: int = 0
    _ages: deque[tuple[float, float]] = field(default_factory=deque)
    _changed: float = float("-inf")
    """When the level changed, or the watch began anew."""
    _troubled: float = float("-inf")
    _ahead: float = 0.0
    """Seconds that this machine's clock seems to be ahead of the broker's."""
    _idle: float = float("-inf")
    """When nothing else waited last, and since when that was so again and again."""
    _calm: float = float("inf")

    def restart(self, now: float) -> None:
        """What was seen so far says nothing any more: other partitions are worked on, with backlogs of their own."""
        self._ages.clear()
        self._changed = now

    def observe(self, now: float, age_seconds: float, *, idle: bool = False) -> int:
        """Take note of the age of the records of a batch; return the level from now on.

        age_seconds: this machine's clock less the broker's at their arrival. idle: nothing else waits here.
        """
        self._ages.append((now, age_seconds))
        while self._ages[0][0] < now - RISE_SECONDS:
            self._ages.popleft()
        keeps_up = self._compare_clocks(now, age_seconds, idle)
        if age_seconds - self._ahead > YOUNG_SECONDS and not keeps_up:  # brokers' clocks differ among themselves too
            self._troubled = now
        if self._falls_behind(now) and self.level < self.highest:
            self._change(now, +1)
        elif self.level and now - max(self._troubled, self._changed) >= FALL_SECONDS:
            self._change(now, -1)
        return self.level

    def _compare_clocks(self, now: float, age_seconds: float, idle: bool) -> bool:
        """Whoever runs out of work again and again keeps up: the age that is left is how far the clocks are apart.

        Once is not enough: while nobody fetches for it, a worker far behind runs out of work too.
        """
        if idle:
            self._calm = now if now - self._idle > CALM_SECONDS else self._calm
            self._idle = now
        keeps_up = now - self._calm >= _ENOUGH_SECONDS and now - self._idle <= CALM_SECONDS
        if keeps_up:
            self._ahead = min(age for _, age in self._ages)
        self._ahead = min(self._ahead, age_seconds)
        return keeps_up

    def _falls_behind(self, now: float) -> bool:
        begun, first = self._ages[0]
        lasted = now - begun >= _ENOUGH_SECONDS and now - self._changed >= RISE_SECONDS
        youngest = min(age for _, age in self._ages) - self._ahead
        return lasted and youngest > OLD_SECONDS and self._ages[-1][1] >= first

    def _change(self, now: float, by: int) -> None:
        self.level += by
        self._changed = now
        self._ages.clear()
