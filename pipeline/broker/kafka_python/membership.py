"""Membership of a consumer group in kafka-python 3.0.12: which one to commit with, and three defects mended.

The library puts a new generation in force when it has joined, before it knows what the generation assigns to it. A
commit in between would be taken by the broker (KIP-447 compares generations only), also for partitions that another
member has been working on. So the membership to commit with is that of the newest assignment that is known here:

    library       joined 4, assigned 4        joined 5 ....... assigned 5
    generation    |-- 4 ------------------------|-- 5 -----------------------
    settled       |-- 4 ------------------------------------------|-- 5 -----
                                                 the broker refuses 4 from here on

A member that learns from a join, rather than from a heartbeat, that the group has expelled it keeps its partitions and
claims them when it joins again: `_forget_when_expelled`. A join that ends between two polls is thrown away:
`_keep_joins`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kafka import KafkaConsumer
from kafka.structs import ConsumerGroupMetadata, MemberState


class Membership:
    """The membership of one consumer. `note` belongs to the thread that polls."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self.settled: ConsumerGroupMetadata | None = None
        """That of the newest assignment that is known; None until there is one."""
        _forget_when_expelled(consumer._coordinator)
        _keep_joins(consumer._coordinator)

    def note(self) -> None:
        """To be called after each poll of the library, which applies an assignment before it returns."""
        now = self._consumer.group_metadata()
        if now.state == MemberState.STABLE and now.generation_id >= 0:
            self.settled = now

    def is_current(self, membership: ConsumerGroupMetadata) -> bool:
        """False when the member has joined a newer generation, or was expelled, since. Thread-safe.

        A member that has only asked to join again keeps its generation, and its right to commit, until all have asked.
        """
        now = self._consumer.group_metadata()
        return bool((now.generation_id, now.member_id) == (membership.generation_id, membership.member_id))


def _forget_when_expelled(coordinator: Any) -> None:
    """As the Java client does: the partitions are lost before the next join, and that join claims none of them."""
    reset = coordinator.reset_generation

    def forget(*arguments: Any, **named: Any) -> None:
        reset(*arguments, **named)
        coordinator.rejoining = False  # else the library would not report them as lost when it prepares the join
        for assignor in coordinator._assignors.values():
            assignor.member_assignment = None

    coordinator.reset_generation = forget


class _Joined:
    """A join that has succeeded but that no poll has seen yet; the library is told that it is still under way."""

    is_done = False

    def __init__(self, assignment: bytes) -> None:
        self._assignment = assignment

    def add_callback(self, take: Callable[[bytes], object]) -> None:
        take(self._assignment)

    def add_errback(self, take: Callable[[Exception], object]) -> None:
        pass


def _keep_joins(coordinator: Any) -> None:
    """Let a poll find the join that succeeded since the one before.

    The library throws it away and joins anew, so the whole group is rebalanced once more, and again as long as its
    members poll in turns. A join that the group has overtaken meanwhile is harmless: its generation is refused.
    """
    join = coordinator.join_group_async

    async def kept(timeout_ms: float | None = None) -> bool:
        task = coordinator._join_task
        if task is not None and task.is_done and task.succeeded() and not coordinator._generation.is_lost():
            coordinator._join_task = _Joined(task.value)
        return bool(await join(timeout_ms=timeout_ms))

    coordinator.join_group_async = kept
