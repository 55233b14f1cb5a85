"""What the two threads of a worker share: their context, and the hand-over from the one to the other.

The poll thread hands over assignments and work, the inference thread takes them. A request for a new assignment goes
the other way. Work carries the epoch under which it was polled. `full` tells the poll thread to pause.

    poll thread       restores P1, assign -> True         restores P2, assign -> False  | take_reassign, restores both
    inference thread                       request_reassign: P1 is forgotten            |                 opens both

Whatever was restored before a request is not opened after it: the poll thread restores it again. A commit in between
could move the position past the point where the first restore begins.

Waiting work is kept per partition in offset order and leaves in micro-batches, when a batch is full or its deadline
comes. A batch takes a prefix of each partition, so the order inside a partition never changes. Partitions give work by
turns, so that a flood in one never starves another.

    size 4      p0: a b c d e f       batch: p0 a b | p1 g | p2 h
                p1: g                        p0 c d e f
                p2: h
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pipeline.analysis.camera_streams import Decoded
from pipeline.analysis.partition import Restored
from pipeline.broker.camera_priorities import CameraPriorities
from pipeline.broker.contract import Broker, GroupToken
from pipeline.config.settings import Settings
from pipeline.metrics import WorkerMetrics
from pipeline.records.wire import Partition
from pipeline.worker.after_swap.event_rate import EventRate
from pipeline.worker.label_views import EmbeddingProgress
from pipeline.worker.lost_cameras import Suspicion

Piece = TypeVar("Piece")


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What every part of a worker works with."""

    settings: Settings
    broker: Broker
    metrics: WorkerMetrics
    slot: str
    """Stable name of the worker: it decides whose unfinished transaction is aborted at the start."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds, for waiting and pauses."""
    now_ns: Callable[[], int] = time.time_ns
    """Wall time in nanoseconds since 1970, for ages and latencies."""
    embedding: EmbeddingProgress = field(default_factory=EmbeddingProgress)
    """Labels on their way: work that is known to take long."""
    priorities: CameraPriorities = field(default_factory=CameraPriorities)
    """Which cameras are shed first."""
    event_rate: EventRate = field(default_factory=EventRate)
    """Whether a bundle that was taken says more than the one before it."""
    labels_ready: Callable[[], str | None] = lambda: None
    """Why not one label can be watched for; None: all is well."""


class Batcher(Generic[Piece]):
    """Work that waits for its batch. Not thread-safe: the caller holds a lock."""

    def __init__(self, size: int, wait_seconds: float) -> None:
        self._size = size
        self._wait = wait_seconds
        self._waiting: dict[Partition, deque[tuple[float, Piece]]] = {}

    def __len__(self) -> int:
        """Pieces of work that wait."""
        return sum(map(len, self._waiting.values()))

    def add(self, partition: Partition, work: Iterable[Piece], now: float) -> None:
        """Append work of one partition, in offset order."""
        self._waiting.setdefault(partition, deque()).extend((now, one) for one in work)

    def drop(self, partition: Partition) -> None:
        """Drop the waiting work of one partition."""
        self._waiting.pop(partition, None)

    def clear(self) -> None:
        """Drop all waiting work."""
        self._waiting.clear()

    def ready_in(self, now: float) -> float | None:
        """Seconds until a batch is due: 0 if it is full or its oldest work waited long enough; None: no work waits."""
        oldest = min((queue[0][0] for queue in self._waiting.values() if queue), default=None)
        if oldest is None:
            return None
        return 0.0 if len(self) >= self._size else max(0.0, oldest + self._wait - now)

    def take(self) -> dict[Partition, list[Piece]]:
        """Take the next batch: at most `size` pieces of work, a prefix of each partition, dealt by turns."""
        shares = _shares({partition: len(queue) for partition, queue in self._waiting.items() if queue}, self._size)
        batch = {}
        for partition, share in shares.items():
            queue = self._waiting.pop(partition)
            batch[partition] = [queue.popleft()[1] for _ in range(share)]
            if queue:  # goes behind the others, so that short batches do not favour the same partitions
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


@dataclass(frozen=True, slots=True)
class Work:
    """One record on its way to the inference thread, and the epoch under which it was polled."""

    epoch: int
    decoded: Future[Decoded]


class Handover:
    """Everything that waits between the two threads. Thread-safe.

    size, wait_seconds: of a batch. limit: pieces of waiting work from which `full` is true.
    """

    def __init__(self, size: int, wait_seconds: float, limit: int, monotonic: Callable[[], float]) -> None:
        self._batcher: Batcher[Work] = Batcher(size, wait_seconds)
        self._limit = limit
        self._now = monotonic
        self._restored: deque[tuple[Restored, int]] = deque()
        self._reassign = False
        self._leave = False
        self._suspicions: Mapping[Partition, Suspicion] = {}
        self._token: GroupToken | None = None
        self._interrupted = False
        self._stopped = False
        self._changed = threading.Condition()

    # The poll thread's side.

    def assign(self, restored: Restored, epoch: int) -> bool:
        """Hand over a restored partition; its waiting work is worthless and is dropped.

        False while a request for a new assignment waits: the partition must be restored once more.
        """
        with self._changed:
            if self._reassign:
                return False
            self._batcher.drop(restored.partition)
            self._restored.append((restored, epoch))
            self._changed.notify_all()
            return True

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Drop whatever waits of partitions that are no longer owned."""
        gone = set(partitions)
        with self._changed:
            for partition in gone:
                self._batcher.drop(partition)
            self._restored = deque(one for one in self._restored if one[0].partition not in gone)

    def add(self, work: Mapping[Partition, Iterable[Work]]) -> None:
        """Append the work of one poll, that of each partition in offset order."""
        with self._changed:
            now = self._now()
            for partition, some in work.items():
                self._batcher.add(partition, some, now)
            self._changed.notify_all()

    def publish(self, token: GroupToken | None) -> None:
        """Set the group membership to commit with. Call it after the revocations of the same poll were applied."""
        with self._changed:
            self._token = token
            self._changed.notify_all()

    @property
    def full(self) -> bool:
        """True while so much work waits that the poll thread should pause."""
        with self._changed:
            return len(self._batcher) >= self._limit

    @property
    def empty(self) -> bool:
        """True while no work waits."""
        with self._changed:
            return not len(self._batcher)

    def take_reassign(self) -> bool:
        """True once after each request for a new assignment."""
        with self._changed:
            requested, self._reassign = self._reassign, False
            return requested

    def request_leave(self) -> None:
        """Have the inference thread close every partition and request a new assignment.

        Only that thread knows when no commit of an older epoch is under way.
        """
        with self._changed:
            self._leave = True
            self._changed.notify_all()

    def take_suspicions(self) -> Mapping[Partition, Suspicion]:
        """The newest suspicions; each is returned once."""
        with self._changed:
            taken, self._suspicions = self._suspicions, {}
            return taken

    def stop(self) -> None:
        """End the hand-over: nothing more will come."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    # The inference thread's side.

    def next(self, deadline: float) -> Mapping[Partition, list[Work]] | None:
        """Wait for a batch until `deadline` (monotonic), at most. None: none came, or something needs rest first."""
        with self._changed:
            while not self._stopped and not self._needs_rest() and not self._interrupted:
                now = self._now()
                ready_in = self._batcher.ready_in(now)
                if ready_in == 0:
                    return self._batcher.take()
                left = deadline - now if ready_in is None else min(deadline - now, ready_in)
                if left <= 0:
                    return None
                self._changed.wait(left)
            self._interrupted = False
            return None

    @property
    def needs_rest(self) -> bool:
        """True while partitions are to be opened or closed, for which the concluding thread must rest."""
        with self._changed:
            return self._needs_rest()

    def take_restored(self) -> list[tuple[Restored, int]]:
        """The restored partitions to open, each with its epoch."""
        with self._changed:
            restored = list(self._restored)
            self._restored.clear()
            return restored

    def interrupt(self) -> None:
        """End the present wait for a batch, or the next one; callable from any thread."""
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def _needs_rest(self) -> bool:
        return bool(self._restored) or self._leave

    def request_reassign(self) -> dict[Partition, int]:
        """Have the poll thread go through the assignment step again with every partition that it owns.

        Everything that waits is dropped. Returns the epochs of the partitions that waited to be opened.
        """
        with self._changed:
            self._reassign, self._leave = True, False
            self._batcher.clear()
            waiting = {restored.partition: epoch for restored, epoch in self._restored}
            self._restored.clear()
            return waiting

    def take_leave(self) -> bool:
        """True once after each request to close every partition."""
        with self._changed:
            requested, self._leave = self._leave, False
            return requested

    def suspect(self, suspicions: Mapping[Partition, Suspicion]) -> None:
        """Have the poll thread mark these cameras as lost, once their partitions were processed far enough."""
        with self._changed:
            self._suspicions = suspicions

    def membership(self, seconds: float) -> GroupToken | None:
        """Group membership to commit with. During a rebalance, waits up to `seconds` for that of the next poll."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopped or self._token is None or self._token.current(), max(0.0, seconds)
            )
            return self._token

    @property
    def stopped(self) -> bool:
        """True once nothing more will come."""
        with self._changed:
            return self._stopped
