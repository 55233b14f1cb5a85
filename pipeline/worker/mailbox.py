"""The hand-over from the poll thread to the inference thread.

The poll thread brings assignments and work, the inference thread takes them; a request to go through the assignment
again travels back. Work carries the epoch it was polled under. `full` tells the poll thread to pause.

    poll thread       restores P1, assign -> True         restores P2, assign -> False  | take_reassign, restores both
    inference thread                       request_reassign: P1 waits no more           |                 opens both

What was restored before a request is not opened after it: the poll thread restores all of it again, and a commit in
between would move on from where that begins.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from pipeline.batching import Batcher
from pipeline.broker.contract import GroupToken
from pipeline.records.wire import Partition
from pipeline.worker.assignment import Restored
from pipeline.worker.decoding import Decoded
from pipeline.worker.silence import Suspicion


@dataclass(frozen=True, slots=True)
class Work:
    """One record on its way: being decoded, and the epoch it was polled under."""

    epoch: int
    decoded: Future[Decoded]


class Mailbox:
    """What waits between the two threads. Thread-safe."""

    def __init__(self, size: int, wait_seconds: float, limit: int, monotonic: Callable[[], float]) -> None:
        self._batcher: Batcher[Work] = Batcher(size, wait_seconds)
        self._limit = limit
        self._now = monotonic
        self._restored: deque[tuple[Restored, int]] = deque()
        self._reassign = False
        self._leave = False
        self._suspicions: Mapping[Partition, Suspicion] = {}
        self._token: GroupToken | None = None
        self._stopped = False
        self._changed = threading.Condition()

    # The poll thread's side.

    def assign(self, restored: Restored, epoch: int) -> bool:
        """Announce a partition that was restored; what waited of it is worthless.

        False while a request to go through the assignment again waits: it must be restored once more.
        """
        with self._changed:
            if self._reassign:
                return False
            self._batcher.drop(restored.partition)
            self._restored.append((restored, epoch))
            self._changed.notify_all()
            return True

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Forget what waits of partitions that are no longer owned."""
        gone = set(partitions)
        with self._changed:
            for partition in gone:
                self._batcher.drop(partition)
            self._restored = deque(one for one in self._restored if one[0].partition not in gone)

    def add(self, partition: Partition, work: Iterable[Work]) -> None:
        """Append work of one partition, in offset order."""
        with self._changed:
            self._batcher.add(partition, work, self._now())
            self._changed.notify_all()

    def publish(self, token: GroupToken | None) -> None:
        """Make a poll's group membership the one to commit with; call it after the poll's revocations were applied."""
        with self._changed:
            self._token = token
            self._changed.notify_all()

    @property
    def full(self) -> bool:
        """True while more waits than the inference thread should be given."""
        with self._changed:
            return len(self._batcher) >= self._limit

    @property
    def empty(self) -> bool:
        """True while no work waits."""
        with self._changed:
            return not len(self._batcher)

    def take_reassign(self) -> bool:
        """True once after each request to go through the assignment again."""
        with self._changed:
            asked, self._reassign = self._reassign, False
            return asked

    def request_leave(self) -> None:
        """Ask the inference thread to take everything off the path and to request a new assignment: only it knows when
        no commit of an older epoch is under way."""
        with self._changed:
            self._leave = True

    def take_suspicions(self) -> Mapping[Partition, Suspicion]:
        """The newest suspicions, once."""
        with self._changed:
            taken, self._suspicions = self._suspicions, {}
            return taken

    def stop(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    # The inference thread's side.

    def next(self, deadline: float) -> list[tuple[Restored, int]] | Mapping[Partition, list[Work]] | None:
        """Wait until `deadline` (monotonic) for assignments, which come first, or a batch. None: neither came."""
        with self._changed:
            while not self._stopped:
                if self._restored:
                    restored = list(self._restored)
                    self._restored.clear()
                    return restored
                now = self._now()
                ready_in = self._batcher.ready_in(now)
                if ready_in == 0:
                    return self._batcher.take()
                left = deadline - now if ready_in is None else min(deadline - now, ready_in)
                if left <= 0:
                    return None
                self._changed.wait(left)
            return None

    def request_reassign(self) -> dict[Partition, int]:
        """Ask the poll thread to go through the assignment again with every partition it owns.

        Nothing waits any more; returns the epochs of the partitions that waited to be opened.
        """
        with self._changed:
            self._reassign, self._leave = True, False
            self._batcher.clear()
            waiting = {restored.partition: epoch for restored, epoch in self._restored}
            self._restored.clear()
            return waiting

    def take_leave(self) -> bool:
        """True once after each request to take everything off the path."""
        with self._changed:
            asked, self._leave = self._leave, False
            return asked

    def suspect(self, suspicions: Mapping[Partition, Suspicion]) -> None:
        """Ask the poll thread to say who is lost."""
        with self._changed:
            self._suspicions = suspicions

    def membership(self, seconds: float) -> GroupToken | None:
        """Group membership to commit with; during a rebalance, wait up to `seconds` for that of the next poll."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopped or self._token is None or self._token.current(), max(0.0, seconds)
            )
            return self._token

    @property
    def stopped(self) -> bool:
        """True when nothing more will come."""
        with self._changed:
            return self._stopped
