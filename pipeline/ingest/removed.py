"""Cameras that the settings name no more, until the topics say so.

    frames topic    end marker `removed` of the newest session that any process has named: workers forget the camera
    cameras topic   tombstone: no command shows it any more

Who published the camera does not matter: this process, or an earlier one. What another process publishes now stays,
since its settings may differ; then only the sessions of this process get their marker. The other may also be an
earlier life of this one, which is about to end:

    earlier life   x x x |                  silent: removed as soon as it counts as gone
    another        x x x x x x x x x        still heard of after that time: its own camera
                      begin       begin + the time after which a silent process counts as gone
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import structlog

from pipeline.broker.contract import Producer
from pipeline.errors import ActionwireError
from pipeline.ingest.other_publishers import OtherPublishers
from pipeline.records.frames import EndMarker, encode_stream_record
from pipeline.records.wire import Message, Partition

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Removal:
    since_ms: int
    """When it began, by our clock."""
    published: tuple[int, int]
    """(session, tick) of the newest frame that this process has published; zeros where it has published none."""
    in_flight: bool = False
    """A marker or the tombstone is on its way to the broker."""
    marked: int = 0
    """The session whose marker the broker has."""
    done: bool = False
    """The broker has the tombstone."""


class RemovedCameras:
    """Cameras that are being removed. Call `check` about once a second. Not thread-safe.

    A record that the broker does not take is sent again.
    """

    def __init__(self, producer: Producer, frames_topic: str, cameras_topic: str, others: OtherPublishers) -> None:
        self._producer = producer
        self._frames_topic = frames_topic
        self._cameras_topic = cameras_topic
        self._others = others
        self._removals: dict[str, _Removal] = {}

    def __bool__(self) -> bool:
        return bool(self._removals)

    def add(self, camera: str, published: tuple[int, int] | None = None) -> None:
        """Remove a camera. published: (session, tick) of the newest frame that this process has published.

        Every frame of it must have been acknowledged or given up.
        """
        self._removals[camera] = _Removal(_now_ms(), published or (0, 0))

    def begin(self, camera: str) -> bool:
        """Let a camera be read again; False while a record of its removal is on its way and must come first."""
        removal = self._removals.get(camera)
        if removal is None:
            return True
        if removal.in_flight:
            return False
        del self._removals[camera]
        return True

    def check(self) -> list[str]:
        """Write what is due, and return the cameras whose removal is complete."""
        complete = [
            name for name, removal in self._removals.items() if removal.done or self._is_anothers(name, removal)
        ]
        for camera in complete:
            del self._removals[camera]
        for camera, removal in self._removals.items():
            newest = removal.published
            is_published = self._others.rival(camera) is not None
            if not is_published:
                newest = max(newest, (self._others.last_session(camera), 0))
            if not removal.in_flight and not (is_published and newest[0] == removal.marked):
                self._write(camera, removal, *newest)
        return complete

    def _is_anothers(self, camera: str, removal: _Removal) -> bool:
        heard_ms = self._others.last_heard_ms(camera)
        if removal.in_flight or removal.published[0] > removal.marked or heard_ms is None:
            return False
        if heard_ms <= removal.since_ms + round(self._others.fresh_seconds * 1000):
            return False
        log.info("camera not removed: another process publishes it", camera=camera)
        return True

    def _write(self, camera: str, removal: _Removal, session: int, tick: int) -> None:
        """Send the marker of a session, or the tombstone once the broker has the marker."""
        is_last = session == removal.marked

        def delivered(_partition: Partition | None, _offset: int, error: ActionwireError | None) -> None:
            if error is None and is_last:
                removal.done = True
            elif error is None:
                removal.marked = session
                log.info("camera ended", camera=camera, session=session, reason="removed")
            removal.in_flight = False

        removal.in_flight = True
        if is_last:
            self._producer.send(self._cameras_topic, Message(camera.encode(), None), delivered)
        else:
            marker = EndMarker(camera, session, tick, "removed")
            self._producer.send(self._frames_topic, encode_stream_record(marker), delivered)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
