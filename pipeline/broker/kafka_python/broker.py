"""Apache Kafka as a `contract.Broker`: it makes the clients, and asks the cluster about topics and groups."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, errors
from kafka.admin import MemberToRemove

from pipeline.broker.contract import READ_SECONDS, Capability, TopicSettings
from pipeline.broker.kafka_python import administration, consumer, producer, transactions
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
from pipeline.errors import BrokerTimeout, TransientError
from pipeline.records.wire import Partition

_HEADROOM = 65_536
FREE_SECONDS = 3.0
_numbers = itertools.count(1)

log = structlog.get_logger(__name__)

Kept = TypeVar("Kept")
Answer = TypeVar("Answer")


class KafkaBroker:
    """Keeps `contract.Broker`. A watchdog ends the process when a transaction hangs."""

    capabilities = Capability.FENCING | Capability.COMPACTION | Capability.DURABILITY | Capability.SEVERAL_PROCESSES

    def __init__(self, settings: KafkaSettings) -> None:
        check_library()
        common_settings(settings, "check")
        self._settings = settings
        self._watchdog = WatchdogThread(addresses(settings))
        self._clients: list[Any] = []
        """Open clients. Each has a thread and connections until it is closed, even when nobody holds it any more."""
        self._lock = threading.Lock()

    def ensure_topics(self, topics: Sequence[TopicSettings], seconds: float) -> list[str]:
        """See the contract. A cluster that has just started is given time to register its brokers."""
        return self._patiently("creating topics", seconds, lambda admin: administration.ensure(admin, topics))

    def delete_topics(self, topics: Sequence[str], seconds: float) -> None:
        """See the contract."""
        self._patiently("deleting topics", seconds, lambda admin: administration.delete(admin, topics))

    def partition_counts(self, topics: Sequence[str], seconds: float) -> dict[str, int]:
        """See the contract."""
        with self._admin(seconds) as admin, translating("describing topics"):
            return administration.partition_counts(admin, topics)

    def describe_topics(self, topics: Sequence[str], seconds: float) -> dict[str, TopicSettings]:
        """See the contract."""
        return self._patiently("describing topics", seconds, lambda admin: administration.describe(admin, topics))

    def lag(self, group: str, topic: str, seconds: float) -> dict[Partition, int]:
        """See the contract. A cluster that has just started is given time to make the topic of its groups."""
        doing = f"looking up the lag of group {group}"
        return self._patiently(doing, seconds, lambda admin: administration.lag(admin, group, topic))

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
            log.info(
                "the place of a member is not freed before its session ends", group=group, slot=slot, reason=str(error)
            )

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
        """Ask again until there is an answer, as long as another attempt may help and `seconds` have not passed."""
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
        """A client for one call. Such calls are rare, and the limits of a client are fixed when it is made."""
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
    """Client id of a member; the same after every restart."""
    return f"actionwire-worker-{slot}"
