"""What Actionwire needs from a broker, and what it may rely on.

Two implementations keep this contract: `kafka_python` (Apache Kafka) and `in_process` (one process, for pure tests and
`--bootstrap in-process`). Contract tests run against both; `Capability` names the promises that only one of them keeps.

Threads: a `Broker` may be used from any thread. Everything it makes belongs to one thread at a time, except producers,
whose `send` is thread-safe. Times are seconds. Every call that waits takes its limit as an argument and raises
`BrokerTimeout` when the limit passes; nothing waits for ever. Making a client waits up to eight seconds for the broker.
`BrokerUnavailable`, `AuthenticationError`, `FencedError` and `MessageTooLarge` mean what `pipeline.errors` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Protocol, TypeAlias

from pipeline.errors import ActionwireError
from pipeline.records.wire import Message, Partition, Record

READ_SECONDS = 8.0
"""How long a reader may take to begin, unless the caller says otherwise."""


class Capability(Flag):
    """Promises that not every implementation keeps."""

    FENCING = auto()
    """A second producer with the same transactional id ends the first."""
    COMPACTION = auto()
    DURABILITY = auto()
    """Acknowledged records survive a restart of the broker."""
    SEVERAL_PROCESSES = auto()


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """What a topic must look like. `settings` are broker-side topic settings by their Kafka names."""

    name: str
    partitions: int
    settings: Mapping[str, str] = field(default_factory=dict)
    replication: int = 1


@dataclass(frozen=True, slots=True)
class Position:
    """A committed position: the offset of the next record to process, and up to 4096 bytes of metadata."""

    offset: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class GroupToken:
    """Membership of a consumer group at the time of a poll. A commit with a stale token is refused (KIP-447)."""

    opaque: object
    current: Callable[[], bool] = field(default=lambda: True, compare=False, repr=False)
    """False once the member knows that a rebalance has made this token stale; its next poll brings another. Callable
    from any thread."""


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll returned.

    assigned and revoked: partitions gained and lost since the previous poll. A partition that was lost and regained in
    between is in both, so nobody has to compare assignments. A partition yields no records before `seek` was called on
    it since its assignment.

    skipped: for each partition that could not be read on, the offset that was due and the offset where reading resumes.
    It is larger where retention deleted records before they were read, smaller where the log lost its end.

    undecodable: for each partition with a batch or a record that nobody can decode, as one with a header name that is
    no text, how many offsets were passed over for that, and the one behind the last of them. Records may lie before,
    between and behind.
    """

    records: Mapping[Partition, Sequence[Record]]
    assigned: frozenset[Partition]
    revoked: frozenset[Partition]
    token: GroupToken | None
    skipped: Mapping[Partition, tuple[int, int]] = field(default_factory=dict)
    undecodable: Mapping[Partition, tuple[int, int]] = field(default_factory=dict)


class GroupConsumer(Protocol):
    """A member of a consumer group: cooperative, without automatic commits, reading committed records only."""

    def poll(self, seconds: float, max_records: int) -> Polled:
        """Wait up to `seconds` for records or a change of assignment.

        A newly assigned partition is not read before `seek` was called on it, so nothing is read from a wrong offset.
        Raises FencedError when this member was replaced.
        """
        ...

    def committed(self, partitions: Iterable[Partition], seconds: float) -> dict[Partition, Position | None]:
        """The last committed position of each partition. Waits while an open transaction holds one back."""
        ...

    def seek(self, partition: Partition, offset: int) -> None:
        """Read this partition from `offset` on; what was fetched before is dropped.

        Harmless for a partition that was lost since the last poll. Raises ContractError for one that was never owned.
        """
        ...

    def bounds(self, partitions: Iterable[Partition], seconds: float) -> dict[Partition, tuple[int, int]]:
        """(first offset, end offset) of each partition. The end is the last stable offset, one past the last record."""
        ...

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Stop fetching these partitions; the others are polled on."""
        ...

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Fetch these partitions again."""
        ...

    def close(self) -> None:
        """Leave the group at once. Never raises."""
        ...


class Reader(Protocol):
    """Reads named partitions without a group, committed records only: state, control, events."""

    def read(self, seconds: float, max_records: int = 500) -> list[Record]:
        """Wait up to `seconds` for records, in offset order within each partition; empty when none come.

        Batches that nobody can decode are passed over, and logged.
        """
        ...

    def positions(self) -> dict[Partition, int]:
        """The offset of the next record of each partition. It passes transaction markers and compacted gaps."""
        ...

    def seek(self, partition: Partition, offset: int) -> None:
        """Read this partition from `offset` on."""
        ...

    def bounds(self, seconds: float) -> dict[Partition, tuple[int, int]]:
        """(first offset, end offset) of each partition."""
        ...

    def close(self) -> None:
        """Release the connection. Never raises."""
        ...


Delivered: TypeAlias = Callable[[Partition | None, int, ActionwireError | None], None]
"""Called once per message, on the client's thread or before `send` returns: (partition, offset, None) or
(None, -1, error). It must not block, and must not need a lock that the caller of `send` holds."""


class Producer(Protocol):
    """Sends messages outside transactions. One request in flight, so nothing overtakes."""

    def send(self, topic: str, message: Message, delivered: Delivered | None = None) -> None:
        """Queue a message; never blocks. The caller bounds what is in flight. Raises MessageTooLarge."""
        ...

    def flush(self, seconds: float) -> None:
        """Wait until every queued message was delivered or has failed. Raises BrokerTimeout."""
        ...

    def close(self, seconds: float = 2.0) -> None:
        """Flush as far as the time allows, then release the connection. Never raises."""
        ...


class Transactions(Protocol):
    """A transactional producer. One transaction at a time, on one thread.

    An error of `commit` means that nothing of the transaction is visible, or all of it: the committed positions say
    which, once a new producer of the same id was made. An error of any other call means that nothing is visible, nor
    will be. Call `abort`. If that raises, `close` this one, get a new one from the broker, and go through the
    assignment again.
    """

    def begin(self) -> None:
        """Open a transaction."""
        ...

    def send(self, topic: str, message: Message) -> None:
        """Add a message. Raises MessageTooLarge, TransactionAborted."""
        ...

    def offsets(self, seconds: float) -> list[tuple[Partition, int]]:
        """Wait for the offsets of the messages sent since `begin`, in order of sending. Raises TransactionAborted."""
        ...

    def commit_positions(self, positions: Mapping[Partition, Position], group: str, token: GroupToken) -> None:
        """Add consumed positions to the transaction. Raises TransactionAborted, FencedError."""
        ...

    def commit(self) -> None:
        """Make everything visible at once. Raises TransactionAborted, FencedError, though it may have happened."""
        ...

    def abort(self) -> None:
        """Drop everything since `begin`. Raises TransactionAborted when that fails too."""
        ...

    def close(self) -> None:
        """Abort an open transaction if possible and release the connection, within two seconds. Never raises."""
        ...


class Broker(Protocol):
    """A factory for clients of one cluster."""

    capabilities: Capability

    def ensure_topics(self, topics: Sequence[TopicSettings], seconds: float) -> list[str]:
        """Create the missing topics and return their names; the settings of existing ones are brought in line.

        Raises ConfigurationError when an existing topic has another partition count or fewer replicas: neither is ever
        changed. One that has more replicas keeps its own `min.insync.replicas`.
        """
        ...

    def delete_topics(self, topics: Sequence[str], seconds: float) -> None:
        """Delete these topics and all their records. Topics that do not exist are ignored."""
        ...

    def partition_counts(self, topics: Sequence[str], seconds: float) -> dict[str, int]:
        """Partition count of each topic that exists."""
        ...

    def describe_topics(self, topics: Sequence[str], seconds: float) -> dict[str, TopicSettings]:
        """How each topic that exists is kept, with every setting that is in force, defaults of the cluster included."""
        ...

    def lag(self, group: str, topic: str, seconds: float) -> dict[Partition, int]:
        """Records of each partition that the group has not processed yet."""
        ...

    def group_consumer(
        self, topic: str, group: str, session_seconds: float = 10.0, slot: str | None = None
    ) -> GroupConsumer:
        """Join a consumer group. A member that sends no heartbeat for `session_seconds` (at least 6) loses its place.

        slot: name of the member's place, for `free`. Its previous holder loses it now.
        """
        ...

    def free(self, group: str, slot: str) -> None:
        """Take a place from a member that was killed, so that the group need not wait for its session to end.

        If the broker does not answer within seconds, the member keeps its place until then. Never raises for that.
        """
        ...

    def reader(self, partitions: Sequence[Partition], seconds: float = READ_SECONDS) -> Reader:
        """Read these partitions from their beginning; `seek` changes that.

        Raises BrokerUnavailable, or BrokerTimeout when a partition does not answer in `seconds`.
        """
        ...

    def producer(self) -> Producer:
        """A producer for frames, markers, statuses and label sets."""
        ...

    def transactions(self, transactional_id: str, seconds: float) -> Transactions:
        """A transactional producer. It fences the previous holder of this id and aborts its open transaction."""
        ...

    def check(self, seconds: float) -> None:
        """Answer within `seconds` or raise BrokerUnavailable or AuthenticationError, naming the likely cause."""
        ...

    def close(self) -> None:
        """Close every client that is still open. Never raises."""
        ...
