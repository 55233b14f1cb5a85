"""The broker as a shadow sees it: it reads what all read, and writes to its own topics only.

A worker marks partitions, reports on labels and so on; a shadow does all that into the void. What it commits goes to
the topics that its settings name, in transactions like any worker's, so a restarted shadow goes on where it was.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from pipeline.broker.contract import Broker, Delivered, GroupConsumer, Polled, Producer
from pipeline.records.wire import Message, Record
from pipeline.worker.shadow.settings import in_share


def shadow_broker(broker: Broker, share: float) -> Broker:
    """Return a broker whose plain producers write nothing, and whose consumers see a share of the cameras."""
    return cast(Broker, _Shadow(broker, share))


class _Shadow:
    """Hands everything on but two."""

    def __init__(self, broker: Broker, share: float) -> None:
        self._broker, self._share = broker, share

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def producer(self) -> Producer:
        """A producer that drops what it is given."""
        return _Silent()

    def group_consumer(
        self, topic: str, group: str, session_seconds: float = 10.0, slot: str | None = None
    ) -> GroupConsumer:
        """A consumer that leaves the frames of other cameras out."""
        consumer = self._broker.group_consumer(topic, group, session_seconds, slot)
        return cast(GroupConsumer, _Sharing(consumer, self._share))


class _Silent:
    """See `pipeline.broker.contract.Producer`. Nothing is sent, so nothing is ever delivered."""

    def send(self, topic: str, message: Message, delivered: Delivered | None = None) -> None:
        pass

    def flush(self, seconds: float) -> None:
        pass

    def close(self, seconds: float = 2.0) -> None:
        pass


class _Sharing:
    """Hands everything on; polls are thinned out."""

    def __init__(self, consumer: GroupConsumer, share: float) -> None:
        self._consumer, self._share = consumer, share

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def poll(self, seconds: float, max_records: int) -> Polled:
        """See `GroupConsumer.poll`. Markers stay, they belong to all."""
        polled = self._consumer.poll(seconds, max_records)
        kept = {one: [record for record in records if self._wanted(record)] for one, records in polled.records.items()}
        return replace(polled, records={one: records for one, records in kept.items() if records})

    def _wanted(self, record: Record) -> bool:
        return not record.value or in_share((record.key or b"").decode(errors="replace"), self._share)
