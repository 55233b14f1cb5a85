"""The member of a consumer group, and the reader of named partitions. Both read committed records only.

The rebalance listener runs on the library's own thread, where no call may block. It notes what changed and parks new
partitions until `seek`: paused, at offset 0, so that the library never has to ask where to start.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition, errors
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from pipeline.broker.contract import GroupToken, Polled, Position
from pipeline.broker.kafka_python.batches import UndecodableBatches
from pipeline.broker.kafka_python.membership import Membership
from pipeline.broker.kafka_python.translate import translating
from pipeline.errors import BrokerTimeout, BrokerUnavailable, ContractError
from pipeline.records.wire import Partition, Record

_SLICE_SECONDS = 0.1
"""How often a poll that waits for records checks whether the assignment has changed."""
_LOOKUP_SECONDS = 5.0

COMMON: dict[str, Any] = {
    "isolation_level": "read_committed",
    "enable_auto_commit": False,
    "auto_offset_reset": "none",
    "fetch_max_wait_ms": 500,
    "request_timeout_ms": 8000,
    "metrics_enabled": False,
}

READER: dict[str, Any] = COMMON | {"fetch_max_wait_ms": 25}
"""Options of a reader. A broker answers the requests of a connection in order: the end of a topic is told only when the
fetch before is answered, and a worker that meets a marker of an unknown label set waits for that end."""

log = structlog.get_logger(__name__)

Found = TypeVar("Found")


def group_options(group: str, session_seconds: float) -> dict[str, Any]:
    """Options of a group member. It is dynamic: a static one is not told that it is fenced, and leaves late."""
    return COMMON | {
        "group_id": group,
        "partition_assignment_strategy": [CooperativeStickyAssignor()],
        "session_timeout_ms": int(session_seconds * 1000),
        "heartbeat_interval_ms": 1000,
        # An answer per frame costs the client many times what the frame costs. So a few wait for each other, at most
        # for what the latency of an event has to spare at any rate of sampling.
        "fetch_min_bytes": 64 << 10,
        "fetch_max_wait_ms": 100,
        "max_partition_fetch_bytes": 4 << 20,
    }


class _Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes changes under a lock; everything else happens in the poll loop."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self._lock = threading.Lock()
        self._gained: set[Partition] = set()
        self._lost: set[Partition] = set()
        self.owned: set[Partition] = set()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        partitions = list(assigned)
        if partitions:
            self._consumer.pause(*partitions)
        for partition in partitions:
            self._consumer.seek(partition, 0)
        with self._lock:
            self._gained |= _own(partitions)
            self.owned |= _own(partitions)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        with self._lock:
            gone = _own(revoked)
            self._lost |= gone & (self.owned - self._gained)
            self._gained -= gone
            self.owned -= gone

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self.on_partitions_revoked(lost)

    def take(self) -> tuple[frozenset[Partition], frozenset[Partition], frozenset[Partition]]:
        """(gained, lost, owned) since the last call."""
        with self._lock:
            taken = frozenset(self._gained), frozenset(self._lost), frozenset(self.owned)
            self._gained, self._lost = set(), set()
            return taken


class KafkaGroupConsumer:
    """Keeps `contract.GroupConsumer`."""

    def __init__(self, consumer: KafkaConsumer, topic: str, group: str) -> None:
        self._consumer = consumer
        self._group = group
        self._assignment = _Assignment(consumer)
        self._membership = Membership(consumer)
        self._undecodable = UndecodableBatches(consumer)
        self._reported: set[Partition] = set()
        """The partitions that the caller knows to be its own."""
        self._parked: set[Partition] = set()
        self._paused: set[Partition] = set()
        self.closed = False
        with translating(f"joining group {group}"):
            consumer.subscribe([topic], listener=self._assignment)
            # Before the first poll, which joins: a member that learns of its topic later has to join twice.
            consumer._client.learn_topic(topic, _LOOKUP_SECONDS)

    def poll(self, seconds: float, max_records: int) -> Polled:
        """See the contract."""
        if self.closed:
            raise ContractError("poll on a consumer that was closed")
        deadline = time.monotonic() + seconds
        while True:
            wait = max(0.0, min(_SLICE_SECONDS, deadline - time.monotonic()))
            fetched, skipped = self._fetch(wait, max_records)
            undecodable = self._undecodable.take()
            self._membership.note()
            gained, lost, owned = self._assignment.take()
            self._reported = (self._reported - lost) | gained
            self._parked = (self._parked - lost) | gained
            self._paused -= gained | lost
            if fetched or skipped or undecodable or gained or lost or time.monotonic() >= deadline:
                break
        readable = owned - self._parked
        records, holes = _only(fetched, readable), _only(skipped, readable)
        return Polled(records, gained, lost, self._token(), holes, _only(undecodable, readable))

    def _fetch(
        self, seconds: float, max_records: int
    ) -> tuple[dict[Partition, Sequence[Record]], dict[Partition, tuple[int, int]]]:
        with translating(f"reading as a member of group {self._group}"):
            try:
                found = self._consumer.poll(timeout_ms=int(seconds * 1000), max_records=max_records)
            except errors.NoOffsetForPartitionError:
                return {}, {}  # assigned a moment ago: the listener is about to park it
            except (errors.OffsetOutOfRangeError, errors.LogTruncationError) as error:
                return {}, _go_on(self._consumer, error)
        return {Partition(*at): [_record(record) for record in records] for at, records in found.items()}, {}

    def committed(self, partitions: Iterable[Partition], seconds: float) -> dict[Partition, Position | None]:
        """See the contract."""
        deadline = time.monotonic() + seconds
        found: dict[Partition, Position | None] = {}
        with translating(f"reading positions of group {self._group}"):
            for partition in partitions:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise BrokerTimeout(f"positions of group {self._group} did not come in {seconds} s; try again")
                committed = self._consumer.committed(
                    TopicPartition(*partition), metadata=True, timeout_ms=int(left * 1000)
                )
                found[partition] = None if committed is None else Position(committed.offset, committed.metadata or "")
        return found

    def seek(self, partition: Partition, offset: int) -> None:
        """See the contract."""
        if partition not in self._reported:
            raise ContractError(f"seek on {partition}, which this member does not own")
        target = TopicPartition(*partition)
        try:
            self._consumer.seek(target, offset)
            if partition not in self._paused:
                self._consumer.resume(target)
        except ValueError:
            return  # lost since the last poll; the next one says so
        self._parked.discard(partition)

    def bounds(self, partitions: Iterable[Partition], seconds: float) -> dict[Partition, tuple[int, int]]:
        """See the contract."""
        return _bounds(self._consumer, partitions, seconds)

    def pause(self, partitions: Iterable[Partition]) -> None:
        """See the contract."""
        mine = self._mine(partitions)
        self._paused |= mine
        if mine:
            self._consumer.pause(*(TopicPartition(*partition) for partition in mine))

    def resume(self, partitions: Iterable[Partition]) -> None:
        """See the contract."""
        mine = self._mine(partitions)
        self._paused -= mine
        if ready := mine - self._parked:
            self._consumer.resume(*(TopicPartition(*partition) for partition in ready))

    def close(self) -> None:
        """See the contract."""
        self.closed = True
        close_consumer(self._consumer)

    def _token(self) -> GroupToken | None:
        membership = self._membership.settled
        return GroupToken(membership, partial(self._membership.is_current, membership)) if membership else None

    def _mine(self, partitions: Iterable[Partition]) -> set[Partition]:
        assigned = _own(self._consumer.assignment())
        return {partition for partition in partitions if partition in assigned}


class KafkaReader:
    """Keeps `contract.Reader`."""

    def __init__(self, consumer: KafkaConsumer, partitions: Sequence[Partition], seconds: float) -> None:
        self._consumer = consumer
        self._undecodable = UndecodableBatches(consumer)
        self._partitions = [TopicPartition(*partition) for partition in partitions]
        self._what = ", ".join(sorted({partition.topic for partition in partitions}))
        self.closed = False
        with translating(f"reading {self._what}"):
            consumer.assign(self._partitions)
            for partition, (first, _) in _bounds(consumer, partitions, seconds).items():
                consumer.seek(TopicPartition(*partition), first)

    def read(self, seconds: float, max_records: int = 500) -> list[Record]:
        """See the contract."""
        if self.closed:
            raise ContractError("read on a reader that was closed")
        with translating(f"reading {self._what}"):
            try:
                found = self._consumer.poll(timeout_ms=int(seconds * 1000), max_records=max_records)
            except (errors.OffsetOutOfRangeError, errors.LogTruncationError) as error:
                for partition, hole in _go_on(self._consumer, error).items():
                    log.warning("records were deleted before they were read", partition=partition, hole=hole)
                return []
        self._undecodable.take()  # nobody asks a reader; the log has them
        return [_record(record) for records in found.values() for record in records]

    def positions(self) -> dict[Partition, int]:
        """See the contract."""
        with translating(f"reading {self._what}"):
            return {Partition(*at): self._consumer.position(at, timeout_ms=5000) for at in self._partitions}

    def seek(self, partition: Partition, offset: int) -> None:
        """See the contract."""
        if TopicPartition(*partition) not in self._partitions:
            raise ContractError(f"seek on {partition}, which this reader does not read")
        self._consumer.seek(TopicPartition(*partition), offset)

    def bounds(self, seconds: float) -> dict[Partition, tuple[int, int]]:
        """See the contract."""
        return _bounds(self._consumer, [Partition(*at) for at in self._partitions], seconds)

    def close(self) -> None:
        """See the contract."""
        self.closed = True
        close_consumer(self._consumer)


def close_consumer(consumer: KafkaConsumer) -> None:
    """Leave the group and release the connection. Never raises."""
    with contextlib.suppress(Exception):
        consumer.close(autocommit=False, timeout_ms=2000)


def _bounds(
    consumer: KafkaConsumer, partitions: Iterable[Partition], seconds: float
) -> dict[Partition, tuple[int, int]]:
    asked = [TopicPartition(*partition) for partition in partitions]
    if not asked:
        return {}
    with translating(f"looking up the ends of {', '.join(sorted({at.topic for at in asked}))}"):
        try:
            first = consumer.beginning_offsets(asked, timeout_ms=int(seconds * 1000))
            end = consumer.end_offsets(asked, timeout_ms=int(seconds * 1000))
        except KeyError as error:  # the library does not ask for a partition without a leader, and looks for its answer
            raise BrokerUnavailable(f"{error.args[0]} has no leader at the moment; it is tried again") from error
    return {Partition(*at): (first[at], end[at]) for at in asked}


def _due(consumer: KafkaConsumer, error: errors.KafkaError) -> tuple[dict[Partition, int], dict[Partition, int]]:
    """Positions that cannot be read from; where the broker knows it, the offset up to which the log is unchanged."""
    if not isinstance(error, errors.LogTruncationError):
        return {Partition(*at): offset for at, offset in error.args[0].items()}, {}
    states = {at: consumer._subscription.assignment.get(at) for at in error.divergent_offsets}
    due = {Partition(*at): state.position.offset for at, state in states.items() if state and state.position}
    return due, {Partition(*at): found.offset for at, found in error.divergent_offsets.items() if found}


def _go_on(consumer: KafkaConsumer, error: errors.KafkaError) -> dict[Partition, tuple[int, int]]:
    """Seek to the nearest offset that exists and still holds the same record; (due, found) of each partition."""
    due, kept = _due(consumer, error)
    holes: dict[Partition, tuple[int, int]] = {}
    for partition, (first, end) in _bounds(consumer, due, 5.0).items():
        offset = max(first, min(due[partition], end, kept.get(partition, end)))
        consumer.seek(TopicPartition(*partition), offset)
        holes[partition] = (due[partition], offset)
    return holes


def _only(found: Mapping[Partition, Found], partitions: Collection[Partition]) -> dict[Partition, Found]:
    return {partition: one for partition, one in found.items() if partition in partitions}


def _own(partitions: Iterable[TopicPartition]) -> set[Partition]:
    return {Partition(*partition) for partition in partitions}


def _record(record: Any) -> Record:
    headers = tuple((name, value or b"") for name, value in record.headers)
    return Record(record.topic, record.partition, record.offset, record.key, record.value, headers, record.timestamp)
