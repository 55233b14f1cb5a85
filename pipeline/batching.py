"""Micro-batches: by size or by deadline, a prefix per partition, fair across partitions.

Waiting work is kept per partition in offset order. A batch takes a prefix of each partition, so the order inside one is
never touched; who gives how much is decided by turns, so that a flood in one partition never starves another.

    size 4      p0: a b c d e f       batch: p0 a b | p1 g | p2 h
                p1: g                        p0 c d e f
                p2: h

Time is an argument, in seconds of any clock that never goes back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from pipeline.records.wire import Partition

Work = TypeVar("Work")


class Batcher(Generic[Work]):
    """Work that waits for its batch. Not thread-safe; the caller locks."""

    def __init__(self, size: int, wait_seconds: float) -> None:
        self._size = size
        self._wait = wait_seconds
        self._waiting: dict[Partition, deque[tuple[float, Work]]] = {}

    def __len__(self) -> int:
        """How much work is waiting."""
        return sum(map(len, self._waiting.values()))

    def add(self, partition: Partition, work: Iterable[Work], now: float) -> None:
        """Append work of one partition, in offset order."""
        self._waiting.setdefault(partition, deque()).extend((now, one) for one in work)

    def drop(self, partition: Partition) -> None:
        """Forget what waits of one partition."""
        self._waiting.pop(partition, None)

    def clear(self) -> None:
        """Forget everything that waits."""
        self._waiting.clear()

    def ready_in(self, now: float) -> float | None:
        """Seconds until a batch should run: 0 when it is full or its oldest work waited long enough; None: no work."""
        oldest = min((queue[0][0] for queue in self._waiting.values() if queue), default=None)
        if oldest is None:
            return None
        return 0.0 if len(self) >= self._size else max(0.0, oldest + self._wait - now)

    def take(self) -> dict[Partition, list[Work]]:
        """Take the next batch: at most `size` pieces of work, by turns across partitions, a prefix of each."""
        shares = _shares({partition: len(queue) for partition, queue in self._waiting.items() if queue}, self._size)
        batch = {}
        for partition, share in shares.items():
            queue = self._waiting.pop(partition)
            batch[partition] = [queue.popleft()[1] for _ in range(share)]
            if queue:  # behind the others, so that a short batch does not favour the same partitions again
                self._waiting[partition] = queue
        return batch


def _shares(lengths: Mapping[Partition, int], size: int) -> dict[Partition, int]:
    """Deal `size` places over queues of these lengths, one each per round, in the given order."""
    shares = dict.fromkeys(lengths, 0)
    left = min(size, sum(lengths.values()))
    while left:
        for partition, length in lengths.items():
            if left and shares[partition] < length:
                shares[partition] += 1
                left -= 1
    return {partition: share for partition, share in shares.items() if share}
