"""A subscriber of the demo: it receives events and camera statuses, and notes when each event arrived."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from pipeline.analysis.ticks import SECOND
from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of
from pipeline.config.topics import TopicsSettings
from pipeline.errors import ActionwireError
from pipeline.records.cameras import CameraStatus, decode_status
from pipeline.records.events import ActionEvent, decode_event
from pipeline.records.wire import Record


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event message, and how late it arrived."""

    event: ActionEvent
    raw: bytes
    latency: float
    """Seconds from the instant of the deciding window to the arrival here."""


@dataclass(slots=True)
class Received:
    """Everything that a subscriber has received so far. Its thread writes, the screen reads."""

    arrivals: list[Arrival] = field(default_factory=list)
    statuses: dict[str, CameraStatus] = field(default_factory=dict)
    failure: str | None = None

    @property
    def open_events(self) -> dict[str, ActionEvent]:
        """The last message of every event that has not ended, by event id."""
        latest = {arrival.event.id: arrival.event for arrival in self.arrivals}
        return {name: event for name, event in latest.items() if event.phase != "ended"}


class Subscriber:
    """Reads events and statuses on a thread of its own until it is closed."""

    def __init__(self, broker: Broker, topics: TopicsSettings) -> None:
        self.received = Received()
        self._events, cameras = topics.name("events"), topics.name("cameras")
        self._reader = broker.reader([*partitions_of(broker, self._events), *partitions_of(broker, cameras)])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-subscriber", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join(timeout=5.0)
        self._reader.close()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                for record in self._reader.read(0.2):
                    self._take(record)
        except ActionwireError as error:
            self.received.failure = str(error)

    def _take(self, record: Record) -> None:
        if record.topic == self._events:
            event = decode_event(record.value)
            latency = (time.time_ns() - event.time_ns) / SECOND
            self.received.arrivals.append(Arrival(event, record.value or b"", latency))
        elif record.value:
            status = decode_status(record.key, record.value)
            self.received.statuses[status.camera] = status
        else:
            self.received.statuses.pop((record.key or b"").decode(), None)
