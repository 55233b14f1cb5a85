"""The loop of ingest.

    camera threads --frames--> outbox --this thread--> frames topic
                                       once a second: settings, watchdogs, statuses, end markers

A camera that is removed or changed leaves in order. Its reader stops, its waiting frames are sent, and its `end` marker
follows them (that of a removed camera from removed.py). Only then does a successor of the same name begin.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import structlog

from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of
from pipeline.camera.fit import Fit, cover_of
from pipeline.config.cameras import CameraSettings
from pipeline.config.settings import Settings
from pipeline.errors import ActionwireError, MessageTooLarge, TransientError
from pipeline.ingest.bundle_form import BundleForm
from pipeline.ingest.feed import Feed
from pipeline.ingest.other_publishers import OtherPublishers
from pipeline.ingest.outbox import Outbox
from pipeline.ingest.removed import RemovedCameras
from pipeline.ingest.shard import Shard
from pipeline.ingest.status import farewell, is_due, status_of
from pipeline.labels.in_settings import LabelsInSettings
from pipeline.metrics import IngestMetrics, new_registry
from pipeline.records.cameras import FRESH_PERIODS, encode_status
from pipeline.records.frames import Departure, EndMarker, FrameRecord, encode_stream_record
from pipeline.records.wire import Message, Partition

log = structlog.get_logger(__name__)

_HUNG_SECONDS = 30.0
_ROUNDS_OF_REMOVAL = 8
"""The markers of a few sessions, the tombstone, and noticing that they have arrived."""
_LOOP_ONLY = {"lost_seconds", "status_seconds", "in_flight_seconds", "fit"}
"""Settings of ingest that concern no reader: they take effect while the cameras are read on."""


class Ingest:
    """Publishes the cameras of one shard. `step` it until the end, then `close` it.

    publisher: name of this process in statuses; None makes one from host and process.
    check_seconds: how often settings, watchdogs, statuses and end markers are checked.
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
        check_seconds: float = 1.0,
    ) -> None:
        self.publisher = publisher or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._settings = settings
        self._shard = shard or Shard()
        self._metrics = metrics or IngestMetrics(new_registry())
        self._reload = reload
        self._check_seconds = check_seconds
        self._frames_topic = settings.topics.name("frames")
        self._cameras_topic = settings.topics.name("cameras")
        partitions_of(broker, self._frames_topic)
        self._others = OtherPublishers(broker, self._cameras_topic, self.publisher, self._fresh_seconds)
        self._broker = broker
        self._form: BundleForm | None = None
        """Followed while `ingest.fit` is `auto`."""
        self._follow_form()
        self._producer = broker.producer()
        self._removed = RemovedCameras(self._producer, self._frames_topic, self._cameras_topic, self._others)
        self._outbox = Outbox(self._capacity(settings))
        self._wake = threading.Event()
        self._feeds: dict[str, Feed] = {}
        self._leaving: dict[str, tuple[Feed, Literal["removed", "replaced"]]] = {}
        self._sessions: dict[str, int] = {}
        """The last session of cameras that have left."""
        self._check_at = 0.0
        self._stepped = time.monotonic()
        self._refused: str | None = None
        self._remove_leftovers()

    @staticmethod
    def _capacity(settings: Settings) -> int:
        return max(2, round(settings.ingest.in_flight_seconds * settings.rate))

    @property
    def _fresh_seconds(self) -> float:
        return self._settings.ingest.status_seconds * FRESH_PERIODS

    def _remove_leftovers(self) -> None:
        """Remove the cameras that left the settings while no ingest ran, or whose removal did not get through."""
        for name in self._others.cameras_of(self._settings.ingest.name):
            if self._shard.owns(name) and name not in self._settings.cameras:
                remedy = "where another ingest with settings of its own reads it, give each an ingest.name"
                log.info("camera removed: the settings do not name it any more", camera=name, remedy=remedy)
                self._removed.add(name)

    @property
    def cameras(self) -> list[str]:
        """Ids of the cameras that are being read."""
        return sorted(self._feeds)

    def live(self) -> str | None:
        """Why the process should be restarted; None while its loop runs. Callable from any thread."""
        silent = time.monotonic() - self._stepped
        return f"the loop has not run for {silent:.0f} s" if silent > _HUNG_SECONDS else None

    def ready(self) -> str | None:
        """Why frames do not reach the broker; None while they do. Callable from any thread."""
        return self._refused

    def step(self, seconds: float = 0.1) -> None:
        """Wait up to `seconds` for frames and send what waits. Once in a while check everything else."""
        self._stepped = time.monotonic()
        self._wake.wait(seconds)
        self._wake.clear()
        while frame := self._outbox.take():
            self._send(frame)
        if time.monotonic() >= self._check_at:
            self._check_at = time.monotonic() + self._check_seconds
            self._check()

    def close(self) -> None:
        """Stop reading, send what waits as far as a few seconds allow, and publish that the cameras are offline."""
        for feed in self._feeds.values():
            feed.retire()
        while frame := self._outbox.take():
            self._send(frame)
        self._finish_removals()
        replaced = [feed for feed, reason in self._leaving.values() if reason == "replaced"]
        for feed in [*self._feeds.values(), *replaced]:
            self._bid_farewell(feed)
        self._producer.close(2.0)
        self._others.close()
        if self._form is not None:
            self._form.close()
        for feed in self._feeds.values():
            feed.camera.stop(0.5)

    def _bid_farewell(self, feed: Feed) -> None:
        """Publish that this process reads the camera no more."""
        if feed.last_status:
            now = time.time_ns() // 1_000_000
            self._publish_status(encode_status(farewell(feed.last_status, feed.camera.condition().session, now)))

    def _finish_removals(self) -> None:
        """Bring the removals to their end that need no more than an answer of the broker."""
        with suppress(TransientError):
            for _ in range(_ROUNDS_OF_REMOVAL):
                if not self._leaving and not self._removed:
                    return
                self._finish_leaving()
                self._removed.check()
                self._producer.flush(1.0)

    def _enqueue(self, record: FrameRecord) -> int:
        dropped = self._outbox.put(record)
        self._wake.set()
        return dropped

    def _send(self, record: FrameRecord) -> None:
        feed = self._feeds.get(record.camera) or self._leaving[record.camera][0]
        self._announce(feed, record.session)

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

    def _announce(self, feed: Feed, session: int) -> None:
        """Publish a session before its first frame: whoever starts after this process was killed must know of it."""
        named = feed.last_status.session if feed.last_status else None
        if (named or 0) < session and feed.name in self._feeds:
            self._report(feed, self._others.rival(feed.name))

    @staticmethod
    def _note_oversized(feed: Feed, error: MessageTooLarge) -> None:
        """Log once that a camera's frames are too large. The broker is there and takes those of the others."""
        if not feed.oversized:
            log.warning("frames refused", camera=feed.name, reason=str(error))
        feed.oversized = True

    def _note_refusal(self, error: ActionwireError | None) -> None:
        """Log once that the broker takes no frames, and once that it takes them again."""
        before, self._refused = self._refused, None if error is None else str(error)
        if error is not None and before is None:
            log.warning("the broker takes no frames", reason=str(error))
        elif error is None and before is not None:
            log.info("the broker takes frames again")

    def _check(self) -> None:
        if self._reload and (changed := self._reload()):
            self._apply(changed)
        self._others.fresh_seconds = self._fresh_seconds
        self._others.poll()
        if self._form is not None:
            self._form.poll()
        self._finish_leaving()
        for name in self._removed.check():
            self._sessions.pop(name, None)
        self._begin()
        limit = min(self._settings.ingest.lost_seconds, self._settings.worker.lost_seconds) / 2
        for feed in self._feeds.values():
            feed.camera.watch()
            feed.renew(limit)
            rival = self._others.rival(feed.name)
            if rival is None:  # workers drop our frames until our session is newer than what a rival left
                feed.camera.outrank(self._others.last_session(feed.name))
            self._report(feed, rival)
            self._mark_lost(feed)

    def _apply(self, settings: Settings) -> None:
        """Take new settings over. Cluster and topics stay as they are, because changing them needs a restart."""
        if (settings.kafka, settings.topics) != (self._settings.kafka, self._settings.topics):
            log.warning("changed kafka or topics settings take effect after a restart")
        all_changed = _for_readers(settings) != _for_readers(self._settings)
        self._settings = settings
        self._follow_form()
        self._outbox.capacity = self._capacity(settings)
        wanted = self._wanted()
        for name in self._leaving.keys() - wanted.keys():  # changed a moment ago, now deleted
            self._leaving[name] = (self._leaving[name][0], "removed")
        for name, feed in list(self._feeds.items()):
            if name not in wanted:
                self._leave(feed, "removed")
            elif all_changed or _for_reader(wanted[name]) != _for_reader(feed.settings):
                self._leave(feed, "replaced")

    def _follow_form(self) -> None:
        """Read what the bundle takes where the settings say so, else no more."""
        if self._settings.ingest.fit == "auto" and self._form is None:
            self._form = BundleForm(self._broker, self._settings.topics.name("control"))
            self._form.poll()
        elif self._settings.ingest.fit != "auto" and self._form is not None:
            self._form.close()
            self._form = None

    def _fit(self) -> Fit:
        """What the next frame of any camera is scaled to. Callable from any thread."""
        form = self._form
        return cover_of(self._settings.ingest.fit) if form is None else form.form

    def _wanted(self) -> dict[str, CameraSettings]:
        return {name: camera for name, camera in self._settings.cameras.items() if self._shard.owns(name)}

    def _begin(self) -> None:
        """Start to read the cameras that are wanted and not read yet."""
        for name, camera in self._wanted().items():
            if name in self._feeds or name in self._leaving or not self._removed.begin(name):
                continue
            after = max(self._others.last_session(name), self._sessions.get(name, 0))
            feed = Feed(name, self._settings, camera, self._enqueue, self._metrics, after, self._fit)
            self._feeds[name] = feed
            log.info("camera added", camera=name)
            feed.camera.start()

    def _leave(self, feed: Feed, reason: Literal["removed", "replaced"]) -> None:
        log.info("camera " + reason, camera=feed.name)
        feed.retire()
        self._sessions[feed.name] = feed.camera.condition().session or 0
        del self._feeds[feed.name]
        self._leaving[feed.name] = (feed, reason)

    def _finish_leaving(self) -> None:
        """Let cameras go once all their frames have reached the broker and their session has its end."""
        for name, (feed, reason) in list(self._leaving.items()):
            if self._outbox.waiting(name) or feed.marking:
                continue
            if reason == "replaced" and feed.lacks_end:
                self._mark(feed, "replaced")
                continue
            if reason == "removed":
                self._bid_farewell(feed)  # so that another that publishes it takes over at once
                self._removed.add(name, feed.last_published)
                self._metrics.camera(name, None)
                self._outbox.forget(name)
            del self._leaving[name]

    def _mark_lost(self, feed: Feed) -> None:
        """Write the end marker of a camera that was away for too long, or of a file that has played to its end."""
        condition = feed.camera.condition()
        gone = condition.ended or condition.silent_seconds >= self._settings.ingest.lost_seconds
        if gone and not self._outbox.waiting(feed.name) and feed.lacks_end:
            self._mark(feed, "lost")

    def _mark(self, feed: Feed, reason: Departure) -> None:
        """Send an end marker. It counts once the broker has acknowledged it, and is sent again otherwise."""
        if feed.last_published is None or feed.marking:
            return
        session, tick = feed.last_published
        feed.marking = True

        def delivered(_partition: Partition | None, _offset: int, error: ActionwireError | None) -> None:
            feed.marked = feed.marked if error else session
            feed.marking = False
            if error is None:
                log.info("camera ended", camera=feed.name, session=session, reason=reason)

        marker = EndMarker(feed.name, session, tick, reason)
        self._producer.send(self._frames_topic, encode_stream_record(marker), delivered)

    def _report(self, feed: Feed, conflict: str | None) -> None:
        """Publish the status of a camera when it is due, and bring its metrics up to date."""
        condition = feed.camera.condition()
        period = self._settings.ingest.status_seconds
        named = self._settings.cameras.get(feed.name)  # an edited priority starts no camera anew
        status = status_of(
            feed.name,
            condition,
            publisher=self.publisher,
            dropped=feed.dropped,
            conflict=conflict,
            priority=0 if named is None else named.priority,
            ingest=self._settings.ingest.name,
        )
        if is_due(feed.last_status, status, time.monotonic() - feed.last_status_at, period):
            if conflict and not (feed.last_status and feed.last_status.conflict):
                log.warning("another process publishes this camera too", camera=feed.name, publisher=conflict)
            feed.last_status, feed.last_status_at = status, time.monotonic()
            self._publish_status(encode_status(status))
        feed.count(condition)

    def _publish_status(self, message: Message) -> None:
        self._producer.send(self._cameras_topic, message)


def _for_readers(settings: Settings) -> tuple[int, dict[str, Any]]:
    """The settings that concern the readers of all cameras."""
    return settings.rate, settings.ingest.model_dump(exclude=_LOOP_ONLY)


def _for_reader(camera: CameraSettings) -> dict[str, Any]:
    """The settings that concern the reader of one camera; its priority concerns workers only."""
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

    reload: returns new settings when there are some (see `settings_file.FileWatch`). started: called with the running
    ingest. Raises ConfigurationError, AuthenticationError, BrokerUnavailable at the start. Later, a broker that is away
    costs frames only, and they are counted.
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
