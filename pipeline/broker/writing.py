"""Writing records that somebody waits for."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from pipeline.broker.contract import Broker
from pipeline.errors import ActionwireError, BrokerTimeout
from pipeline.records.wire import Message, Partition


def write_messages(broker: Broker, topic: str, messages: Sequence[Message], seconds: float) -> int:
    """Write messages in order, at least one, and return the greatest of their offsets.

    Raises BrokerTimeout, BrokerUnavailable, or the error of the broker. Messages written before an error stay.
    """
    delivered = threading.Event()
    offsets: list[int] = []
    failures: list[ActionwireError] = []

    def note(_: Partition | None, offset: int, error: ActionwireError | None) -> None:
        offsets.append(offset)
        if error is not None:
            failures.append(error)
        if len(offsets) == len(messages):
            delivered.set()

    producer = broker.producer()
    try:
        for message in messages:
            producer.send(topic, message, note)
        producer.flush(seconds)
        if not delivered.wait(seconds):
            raise BrokerTimeout(f"{topic} did not confirm the change within {seconds:g} s; look at it and try again")
    finally:
        producer.close()
    if failures:
        raise failures[0]
    return max(offsets)
