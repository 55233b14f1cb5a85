"""Load shedding: what to leave out under overload, and when (ARCHITECTURE 5d). Pure.

The steps, one at a time: use only every n-th item (a multiple that the bundle allows), score fewer windows (a longer
stride), leave out cameras of low priority. Clip bundles begin with the stride, because their cost lies in the windows.
A worker is overloaded if the records that it takes are old and do not get younger. One that catches up after a pause
is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pipeline.analysis.camera_streams import Geometry

OLD_SECONDS = 5.0
"""Records that are older than this when they are taken form a backlog."""
YOUNG_SECONDS = 1.0
"""Up to this age of its records a worker keeps up."""
RISE_SECONDS = 30.0
"""How long a backlog must last without shrinking before the next step is taken."""
_ENOUGH_SECONDS = 0.9 * RISE_SECONDS
"""The part of that time which the observed batches must cover."""
CALM_SECONDS = 2.0
"""A worker that keeps up runs out of work at least this often."""
FALL_SECONDS = 60.0
"""How long there must be no backlog before a step is taken back."""
SHARES = (0.25, 0.5, 0.75)
"""Shares of the cameras that the last steps leave out; never all of them."""


@dataclass(frozen=True, slots=True)
class Relief:
    """What one step leaves out."""

    geometry: Geometry
    share: float = 0.0
    """Share of the cameras that are left out."""


def steps(
    geometry: Geometry, multiples: Sequence[int], strides: Sequence[int], kind: Literal["frame", "clip"]
) -> tuple[Relief, ...]:
    """All steps, mildest first; the first entry leaves out nothing.

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
    """The cameras to leave out: lowest priority first, then by id.

    cameras: priority of each. share: of the cameras; at least one camera stays.
    """
    ranked = sorted(cameras, key=lambda camera: (cameras[camera], camera))
    return frozenset(ranked[: min(round(len(ranked) * share), max(len(ranked) - 1, 0))])


@dataclass(slots=True)
class Pressure:
    """Decides the number of steps to take by the age of the records. Times are monotonic seconds."""

    highest: int
    """The last step."""
    level: int = 0
    """The step that is taken now."""
    _ages: deque[tuple[float, float]] = field(default_factory=deque)
    """Time and record age of each recent batch."""
    _changed: float = float("-inf")
    """When the level last changed, or the observation was restarted."""
    _troubled: float = float("-inf")
    """When records were last too old."""
    _ahead: float = 0.0
    """Seconds by which this machine's clock seems to be ahead of the broker's."""
    _idle: float = float("-inf")
    """When the worker last ran out of work."""
    _calm: float = float("inf")
    """Since when it has run out of work again and again."""

    def restart(self, now: float) -> None:
        """Forget the observations: other partitions are worked on now, with backlogs of their own."""
        self._ages.clear()
        self._changed = now

    def observe(self, now: float, age_seconds: float, *, idle: bool = False) -> int:
        """Observe the age of a batch; return the level from now on.

        age_seconds: this machine's clock minus the broker's time stamp of the oldest record. idle: no other work waits.
        """
        self._ages.append((now, age_seconds))
        while self._ages[0][0] < now - RISE_SECONDS:
            self._ages.popleft()
        keeps_up = self._compare_clocks(now, age_seconds, idle)
        if age_seconds - self._ahead > YOUNG_SECONDS and not keeps_up:  # the clocks of brokers differ as well
            self._troubled = now
        if self._falls_behind(now) and self.level < self.highest:
            self._change(now, +1)
        elif self.level and now - max(self._troubled, self._changed) >= FALL_SECONDS:
            self._change(now, -1)
        return self.level

    def _compare_clocks(self, now: float, age_seconds: float, idle: bool) -> bool:
        """True if the worker keeps up, because it runs out of work again and again.

        The age that its records still have is then the difference of the clocks. Running out once is not enough: a
        worker far behind also does while its consumer fetches nothing.
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
