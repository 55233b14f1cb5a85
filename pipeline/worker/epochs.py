"""Epochs of partitions: they tell work that still counts from work that is worthless (ARCHITECTURE 5)."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.records.wire import Partition


@dataclass(slots=True)
class Epochs:
    """A number per partition that rises whenever work in flight becomes worthless: assignment, revocation, abort, swap.

    Work carries the epoch under which it was made, and every hand-over drops it once that epoch has ended. Thread-safe.
    """

    _current: dict[Partition, int] = field(default_factory=dict)
    _owned: set[Partition] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def assign(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Begin a new epoch of these partitions, which are owned from now on; return the epochs."""
        with self._lock:
            began = {partition: self._current.get(partition, 0) + 1 for partition in partitions}
            self._current |= began
            self._owned |= began.keys()
            return began

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """End the current epoch of these partitions, which are no longer owned."""
        with self._lock:
            self._end(partitions)

    def end(self, epochs: Mapping[Partition, int]) -> None:
        """End exactly these epochs; a newer epoch of the same partition goes on."""
        with self._lock:
            self._end([one for one, epoch in epochs.items() if self._current.get(one) == epoch])

    def _end(self, partitions: Iterable[Partition]) -> None:
        """The caller holds the lock."""
        for partition in partitions:
            self._current[partition] = self._current.get(partition, 0) + 1
            self._owned.discard(partition)

    def is_current(self, partition: Partition, epoch: int) -> bool:
        """True while work of this epoch counts."""
        with self._lock:
            return partition in self._owned and self._current.get(partition) == epoch

    def owned(self) -> Mapping[Partition, int]:
        """The owned partitions and their epochs."""
        with self._lock:
            return {partition: self._current[partition] for partition in self._owned}
