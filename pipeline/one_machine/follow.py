"""A subscriber on this machine: it receives events and camera statuses, and notes when each event arrived."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field

import structlog

from pipeline.analysis.ticks import SECOND
from pipeline.broker.contract import Broker, Reader
from pipeline.broker.reading import partitions_of
from pipeline.config.topics import TopicsSettings
from pipeline.errors import ActionwireError, BadRecordError, TransientError
from pipeline.records.cameras import CameraStatus, decode_status
from pipeline.records.events import ActionEvent, decode_event
from pipeline.records.wire import Record

_BOUNDS_SECONDS = 10.0
_AWAY_SECONDS = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event message, and how late it arrived."""

    event: ActionEvent
    raw: bytes
    latency: float
    """Seconds from the instant of the deciding window to the arrival here."""


@dataclass(slots=True)
class Received:
    """What a subscriber has received so far. Its thread writes, the screen reads."""

    arrivals: deque[Arrival] = field(default_factory=deque)
    """The newest messages; all of them, where the queue has no limit."""
    messages: int = 0
    """How many there were, with those that `arrivals` no longer holds."""
    started: int = 0
    """How many events have started."""
    open_events: dict[str, ActionEvent] = field(default_factory=dict)
    """The last message of every event that has not ended, by event id."""
    statuses: dict[str, CameraStatus] = field(default_factory=dict)
    failure: str | None = None
    """Why nothing more is received at the moment, or for good."""

    def take(self, arrival: Arrival) -> None:
        """Note one message."""
        event = arrival.event
        if event.phase == "ended":
            self.open_events.pop(event.id, None)
        else:
            self.started += event.phase == "started"
            self.open_events = {**self.open_events, event.id: event}
        self.arrivals.append(arrival)
        self.messages += 1


class Subscriber:
    """Reads events and statuses on a thread of its own until it is closed.

    keep: how many messages are kept, None for all. live: begin with the next event, not with the oldest that is kept,
    pass over what is no event and wait while the broker is away; else either of these is a failure.
    """

    def __init__(self, broker: Broker, topics: TopicsSettings, *, keep: int | None = None, live: bool = False) -> None:
        self.received = Received(deque(maxlen=keep))
        self._broker, self._live = broker, live
        self._events, self._cameras = topics.name("events"), topics.name("cameras")
        self._reader = None if live else self._open()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="subscriber", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join(timeout=5.0)
        if self._reader is not None:
            self._reader.close()

    def _open(self) -> Reader:
        wanted = [one for topic in (self._events, self._cameras) for one in partitions_of(self._broker, topic)]
        reader = self._broker.reader(wanted)
        try:
            for partition, (_, end) in reader.bounds(_BOUNDS_SECONDS).items() if self._live else ():
                if partition.topic == self._events:
                    reader.seek(partition, end)
        except ActionwireError:
            reader.close()
            raise
        return reader

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._reader = self._reader or self._open()  # new topics may not have all their leaders yet
                for record in self._reader.read(0.2):
                    self._take(record)
                if self._live:
                    self.received.failure = None
            except TransientError as error:
                self.received.failure = str(error)
                if not self._live:
                    return
                self._stop.wait(_AWAY_SECONDS)
            except ActionwireError as error:
                self.received.failure = str(error)
                return

    def _take(self, record: Record) -> None:
        try:
            if record.topic == self._events:
                event = decode_event(record.value)
                latency = (time.time_ns() - event.time_ns) / SECOND
                self.received.take(Arrival(event, record.value or b"", latency))
            elif record.value:
                status = decode_status(record.key, record.value)
                self.received.statuses = {**self.received.statuses, status.camera: status}
            else:
                gone = (record.key or b"").decode(errors="replace")
                self.received.statuses = {k: v for k, v in self.received.statuses.items() if k != gone}
        except BadRecordError as error:
            if not self._live:
                raise
            log.warning("not shown", topic=record.topic, offset=record.offset, error=str(error))
