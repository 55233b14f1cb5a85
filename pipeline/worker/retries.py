"""When a partition that could not be restored is tried again. Pure; time is an argument, in monotonic seconds.

Each partition for itself: one whose state does not come makes no other wait, neither those that are being worked on nor
one that was gained a moment ago. Where the broker does not answer for some of those that are asked for together, nobody
says for which; so they are tried in halves, until a partition without a leader is alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.records.wire import Partition

_ALL = 1 << 12


@dataclass(slots=True)
class Retries:
    """Partitions that were tried in vain, and when it is their turn again: after `shortest` to `longest` seconds."""

    shortest: float
    longest: float
    _pauses: dict[Partition, float] = field(default_factory=dict)
    _at: dict[Partition, float] = field(default_factory=dict)
    _most: int = _ALL
    """How many of those that were tried in vain are tried together."""
    _not_before: float = float("-inf")
    """The broker did not answer a moment ago; until then only what was never tried is."""

    def due(self, partitions: Iterable[Partition], now: float) -> set[Partition]:
        """Those to try now; the first time at once."""
        return {partition for partition in partitions if self._at.get(partition, now) <= now}

    def next(self, partitions: Iterable[Partition], now: float) -> set[Partition]:
        """Those to try together now: all that were never tried in vain; else some of the others, longest due first."""
        due = self.due(partitions, now)
        if fresh := {one for one in due if one not in self._at}:
            return fresh
        return set() if now < self._not_before else set(sorted(due, key=lambda one: (self._at[one], one))[: self._most])

    def pause(self, partitions: Iterable[Partition]) -> float:
        """Seconds of the longest pause that one of them has made; 0: none was tried in vain."""
        return max((self._pauses.get(partition, 0.0) for partition in partitions), default=0.0)

    def missing(self, partitions: Iterable[Partition], now: float) -> None:
        """What these need is not there: ask ever more seldom."""
        for partition in partitions:
            self._wait(partition, now, max(2 * self._pauses.get(partition, 0.0), self.shortest))

    def failed(self, partitions: Iterable[Partition], now: float, pause: float) -> None:
        """The broker did not answer: ask again as soon as it is right for others, `pause` seconds or `shortest`; and
        half of these at most."""
        tried = list(partitions)
        pause = min(max(pause, self.shortest), self.longest)
        self._most = max(1, len(tried) // 2)
        self._not_before = now + pause
        for partition in tried:
            self._wait(partition, now, pause)

    def restored(self, partition: Partition) -> None:
        """It worked: twice as many may be tried together."""
        self._most = min(2 * self._most, _ALL)
        self.forget([partition])

    def forget(self, partitions: Iterable[Partition]) -> None:
        """These are no longer owned, or new: they are tried at once."""
        for partition in partitions:
            self._pauses.pop(partition, None)
            self._at.pop(partition, None)

    def _wait(self, partition: Partition, now: float, pause: float) -> None:
        self._pauses[partition] = min(pause, self.longest)
        self._at[partition] = now + self._pauses[partition]
