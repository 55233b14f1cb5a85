"""The factory of the in-process broker's clients."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from pipeline.broker.contract import READ_SECONDS, Capability, GroupToken, TopicSettings
from pipeline.broker.in_process.groups import Group, InProcessConsumer
from pipeline.broker.in_process.log import Logs
from pipeline.broker.in_process.producers import InProcessProducer, InProcessReader, InProcessTransactions
from pipeline.errors import ConfigurationError, ContractError
from pipeline.records.wire import Partition


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class InProcessBroker:
    """Keeps `contract.Broker` for the threads of one process.

    now_ms: the clock that stamps records, in milliseconds since 1970. A manual clock makes identical records.
    """

    capabilities = Capability(0)

    def __init__(self, *, max_message_bytes: int = 1_000_000, now_ms: Callable[[], int] = _wall_ms) -> None:
        self._limit = max_message_bytes
        self._changed = threading.Condition(threading.RLock())
        self._logs = Logs(now_ms)
        self._kept: dict[str, TopicSettings] = {}
        self._groups: dict[tuple[str, str], Group] = {}
        self._transactions: dict[str, InProcessTransactions] = {}
        self._consumers: list[InProcessConsumer] = []
        self._slots: dict[tuple[str, str], InProcessConsumer] = {}

    def ensure_topics(self, topics: Sequence[TopicSettings], seconds: float) -> list[str]:
        """See the contract. Settings are ignored: there is neither retention nor compaction."""
        with self._changed:
            for topic in topics:
                count = self._logs.count(topic.name)
                if count not in (None, topic.partitions):
                    raise ConfigurationError(
                        f"topic {topic.name} has {count} partitions, not {topic.partitions}; a partition count is "
                        "never changed: set topics.partitions to what it has, or use another topics.namespace"
                    )
                kept = self._kept.get(topic.name, topic)
                if count is not None and kept.replication < topic.replication:
                    raise ConfigurationError(
                        f"topic {topic.name} has a replication of {kept.replication}, not {topic.replication}; set "
                        "topics.replication to what it has"
                    )
            missing = [topic for topic in topics if self._logs.count(topic.name) is None]
            for topic in missing:
                self._logs.create(topic.name, topic.partitions)
            self._kept |= {topic.name: topic for topic in topics}
            return [topic.name for topic in missing]

    def delete_topics(self, topics: Sequence[str], seconds: float) -> None:
        """See the contract."""
        with self._changed:
            for topic in topics:
                self._logs.remove(topic)

    def partition_counts(self, topics: Sequence[str], seconds: float) -> dict[str, int]:
        """See the contract."""
        with self._changed:
            return {topic: count for topic in topics if (count := self._logs.count(topic)) is not None}

    def describe_topics(self, topics: Sequence[str], seconds: float) -> dict[str, TopicSettings]:
        """See the contract."""
        with self._changed:
            return {topic: self._kept[topic] for topic in self.partition_counts(topics, seconds)}

    def lag(self, group: str, topic: str, seconds: float) -> dict[Partition, int]:
        """See the contract."""
        with self._changed:
            found: dict[Partition, int] = {}
            for partition in self._logs.partitions(topic):
                log, position = self._logs.of(partition), self._logs.position(group, partition)
                found[partition] = max(0, log.stable_end() - max(log.first, position.offset if position else 0))
            return found

    def group_consumer(
        self, topic: str, group: str, session_seconds: float = 10.0, slot: str | None = None
    ) -> InProcessConsumer:
        """See the contract. A session never times out by itself."""
        with self._changed:
            if slot is not None:
                self.free(group, slot)
            members = self._groups.setdefault((group, topic), Group(self._logs.partitions(topic)))
            consumer = InProcessConsumer(self._logs, self._changed, members, group)
            self._consumers.append(consumer)
            if slot is not None:
                self._slots[group, slot] = consumer
            return consumer

    def free(self, group: str, slot: str) -> None:
        """See the contract."""
        with self._changed:
            if holder := self._slots.get((group, slot)):
                holder.expire()

    def reader(self, partitions: Sequence[Partition], seconds: float = READ_SECONDS) -> InProcessReader:
        """See the contract."""
        return InProcessReader(self._logs, self._changed, partitions)

    def producer(self) -> InProcessProducer:
        """See the contract."""
        return InProcessProducer(self._logs, self._changed, self._limit)

    def transactions(self, transactional_id: str, seconds: float) -> InProcessTransactions:
        """See the contract. The predecessor's open transaction is aborted, but it may begin another."""
        with self._changed:
            if predecessor := self._transactions.get(transactional_id):
                predecessor.abort_open()
            made = InProcessTransactions(self._logs, self._changed, self._limit, self._accepts)
            self._transactions[transactional_id] = made
            return made

    def check(self, seconds: float) -> None:
        """See the contract. It always answers."""

    def close(self) -> None:
        """See the contract."""
        for consumer in self._consumers:
            consumer.close()
        for transactions in self._transactions.values():
            transactions.close()

    def delete_before(self, partition: Partition, offset: int) -> None:
        """Drop the oldest records of a partition, as retention does. For tests."""
        with self._changed:
            self._logs.of(partition).delete_before(offset)

    def _accepts(self, group: str, token: GroupToken) -> bool:
        match token.opaque:
            case (InProcessConsumer() as consumer, int()):
                return consumer.accepts(token)
        raise ContractError("this token was not made by the in-process broker")
