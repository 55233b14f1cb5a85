"""When a partition that could not be restored is tried again. Pure; time is an argument, in monotonic seconds.

Each partition for itself: one whose state does not come makes no other wait, neither those that are being worked on nor
one that was gained a moment ago.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.records.wire import Partition


@dataclass(slots=True)
class Retries:
    """Partitions that were tried in vain, and when it is their turn again: after `shortest` to `longest` seconds."""

    shortest: float
    longest: float
    _pauses: dict[Partition, float] = field(default_factory=dict)
    _at: dict[Partition, float] = field(default_factory=dict)

    def due(self, partitions: Iterable[Partition], now: float) -> set[Partition]:
        """Those to try now; the first time at once."""
        return {partition for partition in partitions if self._at.get(partition, now) <= now}

    def pause(self, partitions: Iterable[Partition]) -> float:
        """Seconds of the longest pause that one of them has made; 0: none was tried in vain."""
        return max((self._pauses.get(partition, 0.0) for partition in partitions), default=0.0)

    def missing(self, partitions: Iterable[Partition], now: float) -> None:
        """What these need is not there: ask ever more seldom."""
        for partition in partitions:
            self._wait(partition, now, max(2 * self._pauses.get(partition, 0.0), self.shortest))

    def failed(self, partitions: Iterable[Partition], now: float, pause: float) -> None:
        """The broker did not answer: ask again as soon as it is right for others, `pause` seconds or `shortest`."""
        for partition in partitions:
            self._wait(partition, now, max(pause, self.shortest))

    def forget(self, partitions: Iterable[Partition]) -> None:
        """These were restored, or are no longer owned."""
        for partition in partitions:
            self._pauses.pop(partition, None)
            self._at.pop(partition, None)

    def _wait(self, partition: Partition, now: float, pause: float) -> None:
        self._pauses[partition] = min(pause, self.longest)
        self._at[partition] = now + self._pauses[partition]
