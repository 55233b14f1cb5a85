"""Cameras that the settings name no more, until the topics say so.

    frames topic    end markers `removed` of the newest sessions that any process has named: workers forget the camera
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
from dataclasses import dataclass, field

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
    published: tuple[int, int] | None
    """(session, tick) of the newest frame that this process has published; None where it has published none."""
    in_flight: bool = False
    """A marker or the tombstone is on its way to the broker."""
    marked: set[int] = field(default_factory=set)
    """The sessions whose marker the broker has."""
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
        self._removals[camera] = _Removal(_now_ms(), published)

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
            if removal.in_flight:
                continue
            if unmarked := self._unmarked(camera, removal):
                self._send(self._frames_topic, unmarked[0], removal)
            elif self._others.rival(camera) is None:
                self._send(self._cameras_topic, camera, removal)
        return complete

    def _unmarked(self, camera: str, removal: _Removal) -> list[EndMarker]:
        """The markers that the broker does not have yet: of our session, and of all where nobody publishes it now."""
        known = dict([removal.published] if removal.published else [])
        if self._others.rival(camera) is None:
            newest = max(known, default=0)  # what is older has ended with the first frame of this one
            known |= {session: 0 for session in self._others.sessions(camera) if session > newest}
        return [EndMarker(camera, one, known[one], "removed") for one in sorted(known.keys() - removal.marked)]

    def _is_anothers(self, camera: str, removal: _Removal) -> bool:
        heard_ms = self._others.last_heard_ms(camera)
        is_ours_open = removal.published is not None and removal.published[0] not in removal.marked
        if removal.in_flight or is_ours_open or heard_ms is None:
            return False
        if heard_ms <= removal.since_ms + round(self._others.fresh_seconds * 1000):
            return False
        log.info("camera not removed: another process publishes it", camera=camera)
        return True

    def _send(self, topic: str, record: EndMarker | str, removal: _Removal) -> None:
        """Send a marker, or the tombstone of a camera."""

        def delivered(_partition: Partition | None, _offset: int, error: ActionwireError | None) -> None:
            if error is None and isinstance(record, EndMarker):
                removal.marked.add(record.session)
                log.info("camera ended", camera=record.camera, session=record.session, reason="removed")
            elif error is None:
                removal.done = True
            removal.in_flight = False

        removal.in_flight = True
        message = Message(record.encode(), None) if isinstance(record, str) else encode_stream_record(record)
        self._producer.send(topic, message, delivered)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
