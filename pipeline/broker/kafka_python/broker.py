"""Apache Kafka as a `contract.Broker`: makes the clients, looks after topics and knows whether the cluster answers."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition, errors
from kafka.admin import ConfigResource, ConfigResourceType, MemberToRemove
from kafka.protocol.consumer import IsolationLevel, OffsetSpec

from pipeline.broker.contract import READ_SECONDS, Capability, TopicSettings
from pipeline.broker.kafka_python import consumer, producer, transactions
from pipeline.broker.kafka_python.connection import (
    BOOTSTRAP_SECONDS,
    addresses,
    check_library,
    common_settings,
    open_client,
)
from pipeline.broker.kafka_python.translate import Meaning, meaning_of, translated, translating
from pipeline.broker.watchdog import WatchdogThread
from pipeline.config.kafka import KafkaSettings
from pipeline.errors import BrokerTimeout, ConfigurationError, TransientError
from pipeline.records.wire import Partition

_HEADROOM = 65_536
FREE_SECONDS = 3.0
_numbers = itertools.count(1)

log = structlog.get_logger(__name__)

Kept = TypeVar("Kept")
Answer = TypeVar("Answer")


class KafkaBroker:
    """Keeps `contract.Broker`. `watchdog` ends the process when a transaction hangs; give another one in tests."""

    capabilities = Capability.FENCING | Capability.COMPACTION | Capability.DURABILITY | Capability.SEVERAL_PROCESSES

    def __init__(self, settings: KafkaSettings, watchdog: WatchdogThread | None = None) -> None:
        check_library()
        common_settings(settings, "check")
        self._settings = settings
        self._watchdog = watchdog or WatchdogThread(addresses(settings))
        self._clients: list[Any] = []
        """Open clients. Each keeps a thread and connections, whether or not anybody still holds it."""
        self._lock = threading.Lock()

    def ensure_topics(self, topics: Sequence[TopicSettings], seconds: float) -> list[str]:
        """See the contract. A cluster that has just started is given time to register its brokers."""
        return self._patiently("creating topics", seconds, lambda admin: _ensure(admin, topics))

    def delete_topics(self, topics: Sequence[str], seconds: float) -> None:
        """See the contract."""
        self._patiently("deleting topics", seconds, lambda admin: _delete(admin, topics))

    def partition_counts(self, topics: Sequence[str], seconds: float) -> dict[str, int]:
        """See the contract."""
        with self._admin(seconds) as admin, translating("describing topics"):
            return _partition_counts(admin, topics)

    def lag(self, group: str, topic: str, seconds: float) -> dict[Partition, int]:
        """See the contract. A cluster that has just started is given time to make the topic of its groups."""
        doing = f"looking up the lag of group {group}"
        return self._patiently(doing, seconds, lambda admin: _lag(admin, group, topic))

    def group_consumer(
        self, topic: str, group: str, session_seconds: float = 10.0, slot: str | None = None
    ) -> consumer.KafkaGroupConsumer:
        """See the contract."""
        if slot is not None:
            self.free(group, slot)
        options = consumer.group_options(group, session_seconds)
        made = self._open(KafkaConsumer, "worker", None if slot is None else _client_id(slot), **options)
        try:
            return self._keep(consumer.KafkaGroupConsumer(made, topic, group))
        except BaseException:
            consumer.close_consumer(made)
            raise

    def free(self, group: str, slot: str) -> None:
        """See the contract."""
        known_as = _client_id(slot)
        try:
            with self._admin(FREE_SECONDS) as admin:
                members = admin.describe_groups([group])[group]["members"]
                holders = [MemberToRemove(one["member_id"]) for one in members if one["client_id"] == known_as]
                if holders:
                    admin.remove_group_members(group, holders)
        except (errors.KafkaError, TransientError) as error:
            log.info("a place stays taken until its session ends", group=group, slot=slot, reason=str(error))

    def reader(self, partitions: Sequence[Partition], seconds: float = READ_SECONDS) -> consumer.KafkaReader:
        """See the contract."""
        made = self._open(KafkaConsumer, "reader", **consumer.READER)
        try:
            return self._keep(consumer.KafkaReader(made, partitions, seconds))
        except BaseException:
            consumer.close_consumer(made)
            raise

    def producer(self) -> producer.KafkaFrameProducer:
        """See the contract."""
        made = self._open(KafkaProducer, "producer", **producer.OPTIONS, max_request_size=self._request_bytes())
        return self._keep(producer.KafkaFrameProducer(made, self._settings.max_message_bytes))

    def transactions(self, transactional_id: str, seconds: float) -> transactions.KafkaTransactions:
        """See the contract."""
        deadline = time.monotonic() + seconds
        made = self._open(
            KafkaProducer,
            f"transactions-{transactional_id}",
            **transactions.OPTIONS,
            transactional_id=transactional_id,
            max_block_ms=int(max(1.0, min(8.0, deadline - time.monotonic())) * 1000),
            max_request_size=self._request_bytes(),
        )
        with self._watchdog.step("initialising transactions"), translating(f"transactional id {transactional_id}"):
            transactions.initialise(made)
        return self._keep(transactions.KafkaTransactions(made, self._settings.max_message_bytes, self._watchdog))

    def check(self, seconds: float) -> None:
        """See the contract."""
        with self._admin(seconds):
            pass

    def close(self) -> None:
        """See the contract."""
        with self._lock:
            clients, self._clients = self._clients, []
        for client in clients:
            client.close()
        self._watchdog.stop()

    def _open(self, make: Any, name: str, client_id: str | None = None, **options: Any) -> Any:
        fresh = f"actionwire-{name}-{os.getpid()}-{next(_numbers)}"
        return open_client(make, self._settings, client_id or fresh, **options)

    def _keep(self, client: Kept) -> Kept:
        with self._lock:
            self._clients = [one for one in self._clients if not one.closed] + [client]
        return client

    def _request_bytes(self) -> int:
        return max(1 << 20, self._settings.max_message_bytes + _HEADROOM)

    def _patiently(self, doing: str, seconds: float, ask: Callable[[KafkaAdminClient], Answer]) -> Answer:
        """Ask until there is an answer, for as long as another attempt may help."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                with self._admin(max(1.0, deadline - time.monotonic())) as admin:
                    return ask(admin)
            except errors.KafkaError as error:
                again = error.retriable or meaning_of(error) in (Meaning.AWAY, Meaning.LATE)
                if not again or time.monotonic() > deadline:
                    raise translated(error, doing) from error
                time.sleep(0.2)

    @contextmanager
    def _admin(self, seconds: float) -> Iterator[KafkaAdminClient]:
        """A short-lived client: these calls are rare, and a fresh one honours the limit of each."""
        limits: dict[str, Any] = {
            "bootstrap_timeout_ms": int(min(seconds, BOOTSTRAP_SECONDS) * 1000),
            "request_timeout_ms": int(max(0.5, seconds) * 1000),
        }
        admin = self._open(KafkaAdminClient, "admin", **limits)
        try:
            yield admin
        except TimeoutError as error:
            if isinstance(error, BrokerTimeout):
                raise
            raise BrokerTimeout(f"Kafka at {self._settings.bootstrap} did not answer in {seconds} s") from error
        finally:
            admin.close()


def _client_id(slot: str) -> str:
    """By which a member is known in every life."""
    return f"actionwire-worker-{slot}"


def _partition_counts(admin: KafkaAdminClient, topics: Sequence[str]) -> dict[str, int]:
    described = admin.describe_topics(list(topics)) if topics else []
    return {topic["name"]: len(topic["partitions"]) for topic in described if topic["error_code"] == 0}


def _delete(admin: KafkaAdminClient, topics: Sequence[str]) -> None:
    if there := [*_partition_counts(admin, topics)]:
        admin.delete_topics(there)


def _lag(admin: KafkaAdminClient, group: str, topic: str) -> dict[Partition, int]:
    count = _partition_counts(admin, [topic]).get(topic)
    if count is None:
        raise ConfigurationError(f"topic {topic} does not exist; create the topics with `actionwire topics`")
    asked = [TopicPartition(topic, number) for number in range(count)]
    committed = admin.list_group_offsets({group: asked})[group]
    first, end = (
        admin.list_partition_offsets(dict.fromkeys(asked, spec), IsolationLevel.READ_COMMITTED)
        for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
    )
    position = {at: found.offset for at, found in committed.items() if found.offset >= 0}
    return {Partition(*at): max(0, end[at].offset - max(first[at].offset, position.get(at, 0))) for at in asked}


def _ensure(admin: KafkaAdminClient, topics: Sequence[TopicSettings]) -> list[str]:
    counts = _partition_counts(admin, [topic.name for topic in topics])
    for topic in topics:
        count = counts.get(topic.name, topic.partitions)
        if count != topic.partitions:
            raise ConfigurationError(
                f"topic {topic.name} has {count} partitions, not {topic.partitions}; a partition count is never "
                "changed: set topics.partitions to what it has, or use another topics.namespace"
            )
    existing = [topic for topic in topics if topic.name in counts and topic.settings]
    if existing:
        admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic.name, dict(topic.settings)) for topic in existing]
        )
    missing = [topic for topic in topics if topic.name not in counts]
    if missing:
        wanted = {
            topic.name: {
                "num_partitions": topic.partitions,
                "replication_factor": topic.replication,
                "configs": dict(topic.settings),
            }
            for topic in missing
        }
        try:
            admin.create_topics(wanted)
        except errors.TopicAlreadyExistsError:
            return _ensure(admin, topics)  # somebody else has created it meanwhile
        admin.wait_for_topics(list(wanted))
    return [topic.name for topic in missing]
