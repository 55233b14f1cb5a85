"""Transactional producer. The library sets no limit to its calls, so a watchdog guards each of them.

A transactional producer is always idempotent, with the defects of that: after any failure it may be beyond use. Then
`abort` raises, and the caller makes a new one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kafka import KafkaProducer, TopicPartition, errors
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata

from pipeline.broker.contract import GroupToken, Position
from pipeline.broker.kafka_python.producer import close_producer, send_with
from pipeline.broker.kafka_python.translate import translating_transaction
from pipeline.broker.partitioning import check_size
from pipeline.broker.watchdog import WatchdogThread
from pipeline.errors import ConfigurationError, ContractError, TransactionAborted
from pipeline.records.wire import Message, Partition

MAX_METADATA_BYTES = 4096
_CLOSE_SECONDS = 1.0
_DELIVERED_SECONDS = 10.0
"""Longer than the delivery limit, after which every message has either succeeded or failed."""

OPTIONS: dict[str, Any] = {
    "linger_ms": 0,
    "batch_size": 262_144,
    "max_in_flight_requests_per_connection": 1,
    "retry_backoff_ms": 10,
    "transaction_timeout_ms": 10_000,
    "delivery_timeout_ms": 4000,
    "request_timeout_ms": 2000,
    "metrics_enabled": False,
}


class KafkaTransactions:
    """Keeps `contract.Transactions`."""

    def __init__(self, producer: KafkaProducer, max_message_bytes: int, watchdog: WatchdogThread) -> None:
        self._producer = producer
        self._limit = max_message_bytes
        self._watchdog = watchdog
        self._sent: list[Any] = []
        self._open = False
        self.closed = False

    def begin(self) -> None:
        """See the contract."""
        if self.closed:
            raise ContractError("begin on a transactional producer that was closed")
        if self._open:
            raise ContractError("begin inside a transaction; commit or abort it first")
        with translating_transaction("beginning a transaction"):
            self._producer.begin_transaction()
        self._open = True
        self._sent = []

    def send(self, topic: str, message: Message) -> None:
        """See the contract. Waits for the topic's metadata the first time."""
        self._check_open("send")
        check_size(message, topic, self._limit)
        with self._step(f"sending to {topic}"):
            try:
                self._sent.append(send_with(self._producer, topic, message))
            except ConfigurationError as error:
                raise TransactionAborted(str(error)) from error

    def offsets(self, seconds: float) -> list[tuple[Partition, int]]:
        """See the contract."""
        self._check_open("offsets")
        deadline = time.monotonic() + seconds
        found: list[tuple[Partition, int]] = []
        with self._step("waiting for the offsets of sent messages"):
            for future in self._sent:
                metadata = future.get(timeout=max(0.001, deadline - time.monotonic()))
                found.append((Partition(metadata.topic, metadata.partition), metadata.offset))
        return found

    def commit_positions(self, positions: Mapping[Partition, Position], group: str, token: GroupToken) -> None:
        """See the contract."""
        self._check_open("commit_positions")
        membership = token.opaque
        if not isinstance(membership, ConsumerGroupMetadata):
            raise ContractError("this token was not made by the Kafka consumer")
        if membership.group_id != group:
            raise ContractError(f"this token belongs to group {membership.group_id}, not to {group}")
        if membership.generation_id < 0:
            raise TransactionAborted(f"not a member of group {group} at the moment; poll until partitions are assigned")
        for partition, position in positions.items():
            size = len(position.metadata.encode())
            if size > MAX_METADATA_BYTES:
                raise ContractError(f"metadata of {partition} takes {size} bytes, more than {MAX_METADATA_BYTES}")
        offsets = {
            # -1 stands for "no leader epoch"; with None the library would retry this call for ever.
            TopicPartition(*partition): OffsetAndMetadata(position.offset, position.metadata, -1)
            for partition, position in positions.items()
        }
        with self._step(f"committing positions of group {group}"):
            self._producer.send_offsets_to_transaction(offsets, membership)

    def commit(self) -> None:
        """See the contract."""
        self._check_open("commit")
        with self._step("committing a transaction"):
            # Else the library commits without a record that has expired, and does not say so.
            for future in self._sent:
                future.get(timeout=_DELIVERED_SECONDS)
            self._producer.commit_transaction()
        self._open = False

    def abort(self) -> None:
        """See the contract."""
        self._check_open("abort")
        with self._step("aborting a transaction"):
            self._producer.abort_transaction()
        # What a failed send_offsets left here would be committed with the next transaction.
        self._producer._transaction_manager._pending_txn_offset_commits.clear()
        self._open = False

    def close(self) -> None:
        """See the contract."""
        if self.closed:
            return
        self.closed = True
        close_producer(self._producer, _CLOSE_SECONDS)

    def _check_open(self, call: str) -> None:
        if not self._open or self.closed:
            raise ContractError(f"{call} outside a transaction; call begin first")

    @contextmanager
    def _step(self, doing: str) -> Iterator[None]:
        with self._watchdog.step(doing), translating_transaction(doing):
            yield


def initialise(producer: KafkaProducer) -> None:
    """Fence the predecessor and abort its open transaction. Raises TransientError, FencedError, AuthenticationError."""
    try:
        producer.init_transactions()
    except errors.KafkaError:
        close_producer(producer, _CLOSE_SECONDS)
        raise
