"""The loop of ingest.

    camera threads --frames--> outbox --this thread--> frames topic
                                       once a second: settings, watchdogs, statuses, end markers

A camera that is removed or changed goes in order: its reader stops, its waiting frames are sent, its `end` marker
follows them, and only then does a successor of the same name begin.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import structlog

from pipeline.broker.contract import Broker
from pipeline.config.cameras import CameraSettings
from pipeline.config.settings import Settings
from pipeline.errors import ActionwireError, ConfigurationError, MessageTooLarge
from pipeline.ingest.feed import Feed
from pipeline.ingest.other_publishers import Hearing
from pipeline.ingest.outbox import Outbox
from pipeline.ingest.shard import Shard
from pipeline.ingest.status import farewell, status_of, worth_telling
from pipeline.labels.in_settings import LabelsInSettings
from pipeline.metrics import IngestMetrics, new_registry
from pipeline.records.cameras import FRESH_PERIODS, encode_status
from pipeline.records.frames import Departure, EndMarker, FrameRecord, encode_stream_record
from pipeline.records.wire import Message, Partition

log = structlog.get_logger(__name__)

_HUNG_SECONDS = 30.0
_LOOP_ONLY = {"lost_seconds", "status_seconds", "in_flight_seconds"}
"""Settings of ingest that no reader was made with: they take effect while it reads on."""


class Ingest:
    """Publishes the cameras of one shard. `step` it until the end, then `close` it.

    publisher: name of this process in statuses, made from host and process where None.
    look_seconds: how often settings, watchdogs, statuses and end markers are looked after.
    Raises ConfigurationError when the topics do not exist.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        *,
        shard: Shard | None = None,
        metrics: IngestMetrics | None = None,
        publisher: str | None = None,
        reload: Callable[[], Settings | None] | None = None,
        look_seconds: float = 1.0,
    ) -> None:
        self.publisher = publisher or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._settings = settings
        self._shard = shard or Shard()
        self._metrics = metrics or IngestMetrics(new_registry())
        self._reload = reload
        self._look_seconds = look_seconds
        self._frames_topic = settings.topics.name("frames")
        self._cameras_topic = settings.topics.name("cameras")
        if not broker.partition_counts([self._frames_topic], 10.0):
            raise ConfigurationError(
                f"topic {self._frames_topic} does not exist; create the topics with `actionwire topics`"
            )
        self._hearing = Hearing(broker, self._cameras_topic, self.publisher)
        self._producer = broker.producer()
        self._outbox = Outbox(self._capacity(settings))
        self._wake = threading.Event()
        self._feeds: dict[str, Feed] = {}
        self._leaving: dict[str, tuple[Feed, Literal["removed", "replaced"]]] = {}
        self._sessions: dict[str, int] = {}
        """The last session of cameras that have left."""
        self._look_at = 0.0
        self._stepped = time.monotonic()
        self._refused: str | None = None

    @staticmethod
    def _capacity(settings: Settings) -> int:
        return max(2, round(settings.ingest.in_flight_seconds * settings.rate))

    @property
    def cameras(self) -> list[str]:
        """Ids of the cameras that are read at the moment."""
        return sorted(self._feeds)

    def live(self) -> str | None:
        """Why the process should be restarted; None while its loop runs. May be called from any thread."""
        silent = time.monotonic() - self._stepped
        return f"the loop has not run for {silent:.0f} s" if silent > _HUNG_SECONDS else None

    def ready(self) -> str | None:
        """Why frames do not reach the broker at the moment; None while they do. May be called from any thread."""
        return self._refused

    def step(self, seconds: float = 0.1) -> None:
        """Send what waits; wait up to `seconds` for more. From time to time look after everything else."""
        self._stepped = time.monotonic()
        self._wake.wait(seconds)
        self._wake.clear()
        while frame := self._outbox.take():
            self._send(frame)
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + self._look_seconds
            self._look()

    def close(self) -> None:
        """Stop reading, send what waits as far as two seconds allow, and tell that the cameras are offline."""
        for feed in self._feeds.values():
            feed.retire()
        while frame := self._outbox.take():
            self._send(frame)
        now = time.time_ns() // 1_000_000
        for feed in self._feeds.values():
            if feed.told:
                self._tell(encode_status(farewell(feed.told, feed.camera.health().session, now)))
        self._producer.close(2.0)
        self._hearing.close()
        for feed in self._feeds.values():
            feed.camera.stop(0.5)

    # -- frames ------------------------------------------------------------------------------------------------------

    def _take_in(self, record: FrameRecord) -> int:
        dropped = self._outbox.put(record)
        self._wake.set()
        return dropped

    def _send(self, record: FrameRecord) -> None:
        feed = self._feeds.get(record.camera) or self._leaving[record.camera][0]

        def delivered(_partition: Partition | None, _offset: int, error: ActionwireError | None) -> None:
            if error is None:
                feed.acknowledged(record)
            else:
                feed.lost("oversized" if isinstance(error, MessageTooLarge) else "queue")
            self._outbox.settle(record.camera)
            self._wake.set()
            if isinstance(error, MessageTooLarge):
                self._note_oversized(feed, error)
            else:
                self._note_refusal(error)

        try:
            self._producer.send(self._frames_topic, encode_stream_record(record), delivered)
        except MessageTooLarge as error:
            delivered(None, -1, error)

    @staticmethod
    def _note_oversized(feed: Feed, error: MessageTooLarge) -> None:
        """Say once that frames of a camera are too large; the broker is there and takes those of others."""
        if not feed.oversized:
            log.warning("frames refused", camera=feed.name, reason=str(error))
        feed.oversized = True

    def _note_refusal(self, error: ActionwireError | None) -> None:
        """Say once that the broker takes no frames, and once that it takes them again."""
        before, self._refused = self._refused, None if error is None else str(error)
        if error is not None and before is None:
            log.warning("the broker takes no frames", reason=str(error))
        elif error is None and before is not None:
            log.info("the broker takes frames again")

    # -- once a second -----------------------------------------------------------------------------------------------

    def _look(self) -> None:
        if self._reload and (changed := self._reload()):
            self._apply(changed)
        self._hearing.listen()
        self._finish_leaving()
        self._begin()
        limit = min(self._settings.ingest.lost_seconds, self._settings.worker.lost_seconds) / 2
        for feed in self._feeds.values():
            feed.camera.watch()
            feed.renew(limit)
            rival = self._hearing.rival(feed.name, self._settings.ingest.status_seconds * FRESH_PERIODS)
            if rival is None:  # one that is gone again has left a newer session: until ours is, workers drop our frames
                feed.camera.outrank(self._hearing.last_session(feed.name))
            self._report(feed, rival)
            self._mark_lost(feed)

    def _apply(self, settings: Settings) -> None:
        """Take new settings over. Cluster and topics stay as they were: they need a restart."""
        if (settings.kafka, settings.topics) != (self._settings.kafka, self._settings.topics):
            log.warning("changed kafka or topics settings take effect after a restart")
        all_changed = _for_readers(settings) != _for_readers(self._settings)
        self._settings = settings
        self._outbox.capacity = self._capacity(settings)
        wanted = self._wanted()
        for name in self._leaving.keys() - wanted.keys():  # changed a moment ago, and now deleted
            self._leaving[name] = (self._leaving[name][0], "removed")
        for name, feed in list(self._feeds.items()):
            if name not in wanted:
                self._leave(feed, "removed")
            elif all_changed or _for_reader(wanted[name]) != _for_reader(feed.settings):
                self._leave(feed, "replaced")

    def _wanted(self) -> dict[str, CameraSettings]:
        return {name: camera for name, camera in self._settings.cameras.items() if self._shard.owns(name)}

    def _begin(self) -> None:
        """Start reading the cameras that are wanted and not read yet."""
        for name, camera in self._wanted().items():
            if name in self._feeds or name in self._leaving:
                continue
            after = max(self._hearing.last_session(name), self._sessions.get(name, 0))
            feed = Feed(name, self._settings, camera, self._take_in, self._metrics, after)
            self._feeds[name] = feed
            log.info("camera added", camera=name)
            feed.camera.start()

    def _leave(self, feed: Feed, reason: Literal["removed", "replaced"]) -> None:
        log.info("camera " + reason, camera=feed.name)
        feed.retire()
        self._sessions[feed.name] = feed.camera.health().session or 0
        del self._feeds[feed.name]
        self._leaving[feed.name] = (feed, reason)

    def _finish_leaving(self) -> None:
        """Write the end of cameras that have left, once everything before it has reached the broker."""
        for name, (feed, reason) in list(self._leaving.items()):
            if self._outbox.waiting(name):
                continue
            if feed.lacks(reason):
                self._mark(feed, reason)
                continue
            if reason == "removed":
                self._tell(Message(name.encode(), None))
                self._metrics.camera(name, None)
            del self._leaving[name]

    def _mark_lost(self, feed: Feed) -> None:
        """Write the end of a camera that has been away for too long, or of a file that has played to its end."""
        health = feed.camera.health()
        gone = health.ended or health.silent_seconds >= self._settings.ingest.lost_seconds
        if gone and not self._outbox.waiting(feed.name) and feed.lacks("lost"):
            self._mark(feed, "lost")

    def _mark(self, feed: Feed, reason: Departure) -> None:
        """Send an end marker; it counts as written when the broker says so, and is sent again otherwise."""
        if feed.last_published is None or feed.marking:
            return
        session, tick = feed.last_published
        feed.marking = True

        def delivered(_partition: Partition | None, _offset: int, error: ActionwireError | None) -> None:
            feed.marked = feed.marked if error else (session, reason)
            feed.marking = False
            if error is None:
                log.info("camera ended", camera=feed.name, session=session, reason=reason)

        marker = EndMarker(feed.name, session, tick, reason)
        self._producer.send(self._frames_topic, encode_stream_record(marker), delivered)

    def _report(self, feed: Feed, conflict: str | None) -> None:
        """Tell the status of a camera where that is due, and count what has happened to it."""
        health = feed.camera.health()
        period = self._settings.ingest.status_seconds
        named = self._settings.cameras.get(feed.name)  # an edited priority starts no camera anew
        status = status_of(
            feed.name,
            health,
            publisher=self.publisher,
            dropped=feed.dropped,
            conflict=conflict,
            priority=0 if named is None else named.priority,
        )
        if worth_telling(feed.told, status, time.monotonic() - feed.told_at, period):
            if conflict and not (feed.told and feed.told.conflict):
                log.warning("another process publishes this camera too", camera=feed.name, publisher=conflict)
            feed.told, feed.told_at = status, time.monotonic()
            self._tell(encode_status(status))
        feed.count(health)

    def _tell(self, message: Message) -> None:
        self._producer.send(self._cameras_topic, message)


def _for_readers(settings: Settings) -> tuple[int, dict[str, Any]]:
    """What the readers of all cameras were made with."""
    return settings.rate, settings.ingest.model_dump(exclude=_LOOP_ONLY)


def _for_reader(camera: CameraSettings) -> dict[str, Any]:
    """What the reader of one camera was made with; its priority is for workers."""
    return camera.model_dump(exclude={"priority"})


def run_ingest(
    settings: Settings,
    broker: Broker,
    *,
    stop: threading.Event,
    shard: Shard | None = None,
    metrics: IngestMetrics | None = None,
    reload: Callable[[], Settings | None] | None = None,
    started: Callable[[Ingest], None] | None = None,
) -> None:
    """Publish the cameras until `stop` is set, and keep the labels of the settings in force.

    reload: gives new settings when there are some (see `reload.FileWatch`). started: called with the running ingest.
    Raises ConfigurationError, AuthenticationError, BrokerUnavailable at the start; later a broker that is away only
    costs frames, which are counted.
    """
    broker.check(10.0)
    labels = LabelsInSettings(broker, settings, warn=True)

    def changed() -> Settings | None:
        found = reload() if reload else None
        if found is not None:
            labels.edited(found)
        return found

    labels.start()
    ingest = Ingest(settings, broker, shard=shard, metrics=metrics, reload=changed)
    try:
        if started:
            started(ingest)
        while not stop.is_set():
            ingest.step()
    finally:
        labels.close()
        ingest.close()
