"""What Actionwire asks of a broker, and what it may rely on.

Two implementations keep this contract: `kafka_python` (Apache Kafka) and `in_process` (one process, for pure tests and
`--bootstrap in-process`). Contract tests run against both; `Capability` says which promises one of them cannot keep.

Threads: a `Broker` may be used from any thread. Everything it makes belongs to one thread at a time, except producers,
whose `send` is thread-safe. Times are seconds. Every call that waits takes its limit as an argument and raises
`BrokerTimeout` when it passes; nothing waits for ever. Making a client waits up to eight seconds for the broker.
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
"""What beginning to read may take, where the caller does not say."""


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
    """How a topic must be. `settings` are broker-side topic settings by their Kafka names."""

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
    """Membership of a consumer group at the time of a poll; a commit made with a stale one is refused (KIP-447)."""

    opaque: object
    current: Callable[[], bool] = field(default=lambda: True, compare=False, repr=False)
    """False when the member knows that a rebalance has made this one stale; its next poll brings another. Harmless
    from any thread."""


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll returned.

    assigned and revoked: partitions gained and lost since the previous poll. A partition that was lost and regained in
    between is in both, so comparing assignments is not needed. There are never records of a partition that was not
    sought since it was assigned.

    skipped: for each partition where reading could not go on, the offset that was due and the one that it goes on from:
    a larger one where retention deleted records before they were read, a smaller one where the log lost its end.

    unreadable: the same for records that are there and cannot be decoded, as one with a header name that is no text.
    """

    records: Mapping[Partition, Sequence[Record]]
    assigned: frozenset[Partition]
    revoked: frozenset[Partition]
    token: GroupToken | None
    skipped: Mapping[Partition, tuple[int, int]] = field(default_factory=dict)
    unreadable: Mapping[Partition, tuple[int, int]] = field(default_factory=dict)


class GroupConsumer(Protocol):
    """A member of a consumer group, cooperative, without automatic commits, reading committed records only."""

    def poll(self, seconds: float, max_records: int) -> Polled:
        """Wait up to `seconds` for records or a change of assignment.

        A newly assigned partition is not read until `seek` was called for it, so nothing is read from a wrong place.
        Raises FencedError when this member was replaced.
        """
        ...

    def committed(self, partitions: Iterable[Partition], seconds: float) -> dict[Partition, Position | None]:
        """Last committed position of each partition; waits while an open transaction holds one back."""
        ...

    def seek(self, partition: Partition, offset: int) -> None:
        """Read this partition from `offset` on; what was fetched before is thrown away.

        Harmless for a partition that was lost since the last poll. Raises ContractError for one that was never owned.
        """
        ...

    def bounds(self, partitions: Iterable[Partition], seconds: float) -> dict[Partition, tuple[int, int]]:
        """(first offset, end offset) of each partition; the end is the last stable offset, one past the last record."""
        ...

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Stop fetching these partitions; polls go on for the others."""
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
        """Wait up to `seconds` for records, in offset order within each partition; empty when none came."""
        ...

    def positions(self) -> dict[Partition, int]:
        """Offset of the next record of each partition; passes markers of transactions and compacted gaps."""
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
        """Hand a message over; never blocks. The caller bounds what is in flight. Raises MessageTooLarge."""
        ...

    def flush(self, seconds: float) -> None:
        """Wait until everything handed over was delivered or failed. Raises BrokerTimeout."""
        ...

    def close(self, seconds: float = 2.0) -> None:
        """Flush as far as the time allows, then release. Never raises."""
        ...


class Transactions(Protocol):
    """A transactional producer. One transaction at a time, on one thread.

    Any error means: nothing of the transaction is visible. Call `abort`; if that raises, `close` this one, ask the
    broker for a new one, and go through the assignment again.
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
        """Make everything visible at once. Raises TransactionAborted, FencedError."""
        ...

    def abort(self) -> None:
        """Drop everything since `begin`. Raises TransactionAborted when not even that is possible."""
        ...

    def close(self) -> None:
        """Release the connection, aborting what is open where possible. Never raises, returns within two seconds."""
        ...


class Broker(Protocol):
    """A factory for clients of one cluster."""

    capabilities: Capability

    def ensure_topics(self, topics: Sequence[TopicSettings], seconds: float) -> list[str]:
        """Create the topics that are missing and return their names; settings of existing ones are brought in line.

        Raises ConfigurationError when an existing topic has another partition count: that is never changed.
        """
        ...

    def delete_topics(self, topics: Sequence[str], seconds: float) -> None:
        """Delete these topics and all that they hold; those that do not exist are passed over."""
        ...

    def partition_counts(self, topics: Sequence[str], seconds: float) -> dict[str, int]:
        """Partition count of each topic that exists."""
        ...

    def lag(self, group: str, topic: str, seconds: float) -> dict[Partition, int]:
        """Records of each partition that the group has not processed yet."""
        ...

    def group_consumer(
        self, topic: str, group: str, session_seconds: float = 10.0, slot: str | None = None
    ) -> GroupConsumer:
        """Join a consumer group; a member that is not heard of for `session_seconds` (at least 6) loses its place.

        slot: name of the member's place, for `free`; whoever held it before loses it now.
        """
        ...

    def free(self, group: str, slot: str) -> None:
        """Take a place from a member that was killed: the group does not wait for its session to end.

        Where the broker does not answer within seconds the member keeps it until then. Never raises for that.
        """
        ...

    def reader(self, partitions: Sequence[Partition], seconds: float = READ_SECONDS) -> Reader:
        """Read these partitions from their beginning (seek to change that).

        Raises BrokerUnavailable, BrokerTimeout where one of them does not answer in `seconds`.
        """
        ...

    def producer(self) -> Producer:
        """A producer for frames, markers, statuses and label sets."""
        ...

    def transactions(self, transactional_id: str, seconds: float) -> Transactions:
        """A transactional producer; fences the one that held this id before and aborts its open transaction."""
        ...

    def check(self, seconds: float) -> None:
        """Answer within `seconds` or raise BrokerUnavailable or AuthenticationError, naming the likely cause."""
        ...

    def close(self) -> None:
        """Close every client that is still open. Never raises."""
        ...
