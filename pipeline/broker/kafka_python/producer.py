"""Producer for frames, markers, statuses and label sets.

It is not idempotent: an idempotent producer of this library stops for good after an outage longer than the delivery
limit, or after one refused record. One request in flight keeps the order. A record carries no time of its own: a
camera's clock may be wrong, and a time more than an hour ahead would be refused.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from kafka import KafkaProducer, errors

from pipeline.broker.contract import Delivered
from pipeline.broker.kafka_python.translate import translated
from pipeline.broker.partitioning import check_size
from pipeline.errors import ActionwireError, BrokerTimeout, ConfigurationError, ContractError
from pipeline.records.wire import Message, Partition

DELIVERY_SECONDS = 5.0

OPTIONS: dict[str, Any] = {
    "enable_idempotence": False,
    "acks": "all",
    "linger_ms": 20,
    "batch_size": 262_144,
    "max_in_flight_requests_per_connection": 1,
    "delivery_timeout_ms": int(DELIVERY_SECONDS * 1000),
    "request_timeout_ms": 2000,
    "max_block_ms": int(DELIVERY_SECONDS * 1000),
    "metrics_enabled": False,
}


class KafkaFrameProducer:
    """Keeps `contract.Producer`."""

    def __init__(self, producer: KafkaProducer, max_message_bytes: int) -> None:
        self._producer = producer
        self._limit = max_message_bytes
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._waiting: dict[str, list[tuple[Message, Delivered | None]]] = {}
        self.closed = False

    def send(self, topic: str, message: Message, delivered: Delivered | None = None) -> None:
        """See the contract. Messages for a topic that is not known yet wait for it without blocking the caller."""
        check_size(message, topic, self._limit)
        with self._lock:
            if self.closed:
                raise ContractError("send on a producer that was closed")
            if topic not in self._known:
                waiting = self._waiting.setdefault(topic, [])
                waiting.append((message, delivered))
                if len(waiting) == 1:
                    threading.Thread(target=self._learn, args=(topic,), name="topic-lookup", daemon=True).start()
                return
            failed = self._hand_over(topic, message, delivered)
        if failed:
            failed()

    def flush(self, seconds: float) -> None:
        """See the contract."""
        deadline = time.monotonic() + seconds
        while self._waiting and time.monotonic() < deadline:
            time.sleep(0.005)
        try:
            self._producer.flush(timeout=max(0.0, deadline - time.monotonic()))
        except errors.KafkaTimeoutError as error:
            raise BrokerTimeout(f"messages are still under way after {seconds} s; try again") from error

    def close(self, seconds: float = 2.0) -> None:
        """See the contract."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
        with contextlib.suppress(ActionwireError):
            self.flush(seconds)
        close_producer(self._producer, 0.2)

    def _learn(self, topic: str) -> None:
        """Ask the cluster about a topic, then hand over the messages that wait for it, in order."""
        failure: ActionwireError | None = None
        try:
            self._producer.partitions_for(topic)
        except errors.KafkaTimeoutError as error:
            failure = BrokerTimeout(f"topic {topic}: not found, or the broker does not answer; {error}")
        except errors.KafkaError as error:
            failure = translated(error, f"topic {topic}")
        with self._lock:
            waiting = self._waiting.pop(topic)
            reports: list[Callable[[], None] | None] = []
            if failure is None:
                self._known.add(topic)
                reports = [self._hand_over(topic, message, delivered) for message, delivered in waiting]
            else:
                reports = [_report(delivered, failure) for _, delivered in waiting]
        for report in reports:
            if report:
                report()

    def _hand_over(self, topic: str, message: Message, delivered: Delivered | None) -> Callable[[], None] | None:
        """Give one message to the library; on failure returns its report, which the caller makes without the lock."""
        try:
            future = send_with(self._producer, topic, message)
        except (ActionwireError, errors.KafkaError) as error:
            own = error if isinstance(error, ActionwireError) else translated(error, f"sending to {topic}")
            return _report(delivered, own)
        if delivered is not None:
            future.add_callback(
                lambda metadata: delivered(Partition(metadata.topic, metadata.partition), metadata.offset, None)
            )
            future.add_errback(lambda error: delivered(None, -1, _own(error, topic)))
        return None


def send_with(producer: KafkaProducer, topic: str, message: Message) -> Any:
    """The library's future of a sent message. Raises ConfigurationError for a partition that does not exist."""
    try:
        return producer.send(
            topic,
            value=message.value,
            key=message.key,
            headers=list(message.headers),
            partition=message.partition,
        )
    except ValueError as error:
        raise ConfigurationError(f"sending to {topic}: {error}; check the partition counts of the topics") from error


def close_producer(producer: KafkaProducer, seconds: float) -> None:
    """Close, and end the thread even where the library gives up half way. Never raises."""
    try:
        producer.close(timeout=seconds)
    except Exception:
        # where something could not be flushed, close() raises before it has stopped its sender
        producer._sender.force_close()
        producer._sender.join(0.5)
        producer._closed = True


def _own(error: Exception, topic: str) -> ActionwireError:
    if isinstance(error, errors.KafkaError):
        return translated(error, f"sending to {topic}")
    return BrokerTimeout(f"sending to {topic}: {error}")


def _report(delivered: Delivered | None, error: ActionwireError) -> Callable[[], None] | None:
    return None if delivered is None else lambda: delivered(None, -1, error)
