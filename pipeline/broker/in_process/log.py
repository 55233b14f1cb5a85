"""Partition logs with transactions. Plain data; the caller holds the lock.

As in Apache Kafka, the outcome of a transaction takes an offset in every partition that it wrote to, so the offsets of
records have gaps. Nobody reads past the first record of an open transaction (the last stable offset).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from pipeline.broker.contract import Position
from pipeline.broker.partitioning import partition_of
from pipeline.errors import ConfigurationError
from pipeline.records.wire import Message, Partition, Record


class Outcome(Enum):
    """How a transaction ended."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"


@dataclass(eq=False)
class Transaction:
    """One transaction: its outcome, the partitions that it wrote to and the positions that it holds."""

    outcome: Outcome = Outcome.OPEN
    touched: set[Partition] = field(default_factory=set)
    positions: dict[tuple[str, Partition], Position] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Entry:
    record: Record | None
    """None for the outcome of a transaction."""
    transaction: Transaction | None

    @property
    def visible(self) -> bool:
        return self.record is not None and (self.transaction is None or self.transaction.outcome is Outcome.COMMITTED)


class PartitionLog:
    """Records of one partition; `first` is the offset of the oldest one left."""

    def __init__(self) -> None:
        self.first = 0
        self._entries: list[_Entry] = []
        self._undecided: dict[Transaction, int] = {}

    @property
    def end(self) -> int:
        """Offset of the next entry."""
        return self.first + len(self._entries)

    def append(self, record: Record | None, transaction: Transaction | None) -> int:
        """Add a record, or the outcome of a transaction, and return its offset."""
        offset = self.end
        self._entries.append(_Entry(record, transaction))
        if transaction is not None and record is not None:
            self._undecided.setdefault(transaction, offset)
        return offset

    def decide(self, transaction: Transaction) -> None:
        """Add the outcome of a transaction, so that readers may pass it."""
        self._undecided.pop(transaction, None)
        self.append(None, transaction)

    def stable_end(self) -> int:
        """The last stable offset: the beginning of the first open transaction, else the end."""
        return min(self._undecided.values(), default=self.end)

    def read(self, offset: int, limit: int) -> tuple[list[Record], int]:
        """Up to `limit` committed records from `offset` on, and the offset after the last entry that was passed."""
        found: list[Record] = []
        stable = self.stable_end()
        while offset < stable and len(found) < limit:
            entry = self._entries[offset - self.first]
            if entry.visible and entry.record is not None:
                found.append(entry.record)
            offset += 1
        while offset < stable and not self._entries[offset - self.first].visible:
            offset += 1
        return found, offset

    def delete_before(self, offset: int) -> None:
        """Drop the oldest entries, as retention does."""
        keep = min(max(offset, self.first), self.end)
        del self._entries[: keep - self.first]
        self.first = keep


class Logs:
    """All topics of one broker and the positions that groups have committed."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._partitions: dict[Partition, PartitionLog] = {}
        self._counts: dict[str, int] = {}
        self._unkeyed: dict[str, int] = {}
        self._positions: dict[tuple[str, Partition], Position] = {}
        self._held: dict[tuple[str, Partition], Transaction] = {}

    def create(self, topic: str, partitions: int) -> None:
        """Add a topic."""
        self._counts[topic] = partitions
        self._partitions |= {Partition(topic, number): PartitionLog() for number in range(partitions)}

    def remove(self, topic: str) -> None:
        """Remove a topic, its records, and the positions that groups have committed."""
        for number in range(self._counts.pop(topic, 0)):
            del self._partitions[Partition(topic, number)]
        self._unkeyed.pop(topic, None)
        self._positions = {name: one for name, one in self._positions.items() if name[1].topic != topic}
        self._held = {name: one for name, one in self._held.items() if name[1].topic != topic}

    def count(self, topic: str) -> int | None:
        """Partition count, None when there is no such topic."""
        return self._counts.get(topic)

    def of(self, partition: Partition) -> PartitionLog:
        """The log of a partition. Raises ConfigurationError when it does not exist."""
        try:
            return self._partitions[partition]
        except KeyError:
            raise ConfigurationError(
                f"partition {partition.number} of topic {partition.topic} does not exist; "
                "create the topics with `actionwire topics`"
            ) from None

    def partitions(self, topic: str) -> list[Partition]:
        """Every partition of a topic. Raises ConfigurationError when it does not exist."""
        self.of(Partition(topic, 0))
        return [Partition(topic, number) for number in range(self._counts[topic])]

    def append(self, topic: str, message: Message, transaction: Transaction | None) -> tuple[Partition, int]:
        """Store a message in the partition that it names or its key selects; returns (partition, offset)."""
        partition = Partition(topic, self._number(topic, message))
        log = self.of(partition)
        if transaction is not None:
            transaction.touched.add(partition)
        record = Record(
            topic, partition.number, log.end, message.key, message.value, tuple(message.headers), self._now_ms()
        )
        return partition, log.append(record, transaction)

    def _number(self, topic: str, message: Message) -> int:
        count = len(self.partitions(topic))
        if message.partition is not None:
            return message.partition
        if message.key is not None:
            return partition_of(message.key, count)
        turn = self._unkeyed.get(topic, 0)
        self._unkeyed[topic] = turn + 1
        return turn % count

    def decide(self, transaction: Transaction, outcome: Outcome) -> None:
        """End a transaction: its records and positions become visible together, or never."""
        transaction.outcome = outcome
        for partition in sorted(transaction.touched):
            self.of(partition).decide(transaction)
        for name, position in transaction.positions.items():
            if self._held.get(name) is transaction:
                del self._held[name]
            if outcome is Outcome.COMMITTED:
                self._positions[name] = position

    def hold(self, group: str, partition: Partition, position: Position, transaction: Transaction) -> None:
        """Add a group's position to a transaction, which holds it back until it ends."""
        transaction.positions[group, partition] = position
        self._held[group, partition] = transaction

    def is_held(self, group: str, partition: Partition) -> bool:
        """True while an open transaction holds this position."""
        return (group, partition) in self._held

    def position(self, group: str, partition: Partition) -> Position | None:
        """Last committed position of a group."""
        return self._positions.get((group, partition))
