"""What a subscriber of the demo sees: events and camera statuses, with the wall time at which each one arrived."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from pipeline.analysis.ticks import SECOND
from pipeline.broker.contract import Broker, Reader
from pipeline.config.topics import TopicsSettings
from pipeline.errors import ActionwireError
from pipeline.records.cameras import CameraStatus, decode_status
from pipeline.records.events import ActionEvent, decode_event
from pipeline.records.wire import Partition


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event message, and when a subscriber had it."""

    event: ActionEvent
    raw: bytes
    latency: float
    """Seconds from the instant of the deciding window to arrival here."""


@dataclass(slots=True)
class Seen:
    """Everything that has arrived so far. Written by the follower's thread, read by the screen."""

    arrivals: list[Arrival] = field(default_factory=list)
    statuses: dict[str, CameraStatus] = field(default_factory=dict)
    failure: str | None = None

    @property
    def open_events(self) -> dict[str, ActionEvent]:
        """The last message of every event that has not ended, by event id."""
        latest = {arrival.event.id: arrival.event for arrival in self.arrivals}
        return {name: event for name, event in latest.items() if event.phase != "ended"}


class Follower:
    """Reads events and statuses on a thread of its own until it is closed."""

    def __init__(self, broker: Broker, topics: TopicsSettings) -> None:
        events, cameras = topics.name("events"), topics.name("cameras")
        counts = broker.partition_counts([events, cameras], 10.0)
        self.seen = Seen()
        self._topics = (events, cameras)
        self._reader: Reader = broker.reader(
            [Partition(topic, number) for topic in self._topics for number in range(counts[topic])]
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-follower", daemon=True)
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
                    self._take(record.topic, record.key, record.value)
        except ActionwireError as error:
            self.seen.failure = str(error)

    def _take(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        if topic == self._topics[0]:
            event = decode_event(value)
            self.seen.arrivals.append(Arrival(event, value or b"", (time.time_ns() - event.time_ns) / SECOND))
        elif value:
            status = decode_status(key, value)
            self.seen.statuses[status.camera] = status
        else:
            self.seen.statuses.pop((key or b"").decode(), None)
