"""The statuses that other processes publish on the cameras topic."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of, read_to_end
from pipeline.errors import BadRecordError, TransientError
from pipeline.records.cameras import STOPPED, CameraStatus, decode_status
from pipeline.records.wire import Record

log = structlog.get_logger(__name__)

_MOST_PUBLISHERS = 16
"""Publishers of one camera that are remembered, the latest first; one too many is what there can be by mistake."""
_MOST_SESSIONS = 4
"""Sessions of one camera that are remembered. The newest may have had no frame yet, so workers know an older one."""
_SHOWN = 100
"""Characters of a stranger's text in a log line."""
AHEAD_MS = 24 * 3600 * 1000
"""A session further ahead of our clock is forged, or its clock is wrong. Sessions of ours that are newer still would
silence the camera, since workers take none that is no time."""


@dataclass(slots=True)
class _Heard:
    """What is known of one camera: as much as its publishers may need, however many there have been."""

    sessions: deque[int] = field(default_factory=lambda: deque(maxlen=_MOST_SESSIONS))
    """The newest sessions that any publisher has named, the newest last."""
    ingest: str | None = None
    """Name of the ingest that published it last."""
    other_ms: int | None = None
    """When another process last published the camera; its last status, which says that it ends, does not count."""
    publishers: dict[str, int] = field(default_factory=dict)
    """When each other process last published it, the latest last. One that ended in order is left out."""


class OtherPublishers:
    """Follows the cameras topic from its beginning.

    fresh_seconds: a process that publishes nothing for so long is not there any more. It may be changed.
    Raises ConfigurationError when the topic does not exist, BrokerTimeout when it cannot be read to its end.
    """

    def __init__(self, broker: Broker, topic: str, publisher: str, fresh_seconds: float) -> None:
        self._publisher = publisher
        self.fresh_seconds = fresh_seconds
        self._cameras: dict[str, _Heard] = {}
        self._readable = True
        self._reader = broker.reader(partitions_of(broker, topic))
        self._take(read_to_end(self._reader), old=True)
        self._forget_silent()

    @property
    def cameras(self) -> list[str]:
        """Every camera of the topic that was not removed."""
        return sorted(self._cameras)

    def poll(self) -> None:
        """Take the statuses that have come. A broker that is away is logged once."""
        try:
            self._take(self._reader.read(0.0))
            self._readable = True
        except TransientError as error:
            if self._readable:
                log.warning("cannot read the statuses of other publishers", reason=str(error))
            self._readable = False
        self._forget_silent()

    def _take(self, records: Iterable[Record], *, old: bool = False) -> None:
        """Note who published each camera, and when, which decides who still publishes it.

        That time is now, by our clock, since the clocks of other machines may be hours off. Records from before the
        start are `old`: they carry only their own time stamps, and cannot be later than now.
        """
        for record in records:
            camera = (record.key or b"").decode(errors="replace")
            if record.value is None:
                self._cameras.pop(camera, None)
                continue
            where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            try:
                status = decode_status(record.key, record.value)
            except BadRecordError as error:
                log.warning("unusable camera status", camera=camera[:_SHOWN], reason=str(error), **where)
                continue
            now = _now_ms()
            at_ms = min(record.timestamp_ms, now) if old else now
            heard = self._cameras.setdefault(camera, _Heard())
            heard.ingest = status.ingest
            self._note_publisher(heard, status, at_ms)
            if status.session is None or status.session <= now + AHEAD_MS:
                if status.session and (not heard.sessions or status.session > heard.sessions[-1]):
                    heard.sessions.append(status.session)
                continue
            log.error(
                "a camera status names a session of the future; ours do not follow it",
                camera=camera,
                session=status.session,
                publisher=status.publisher[:_SHOWN],
                remedy="set the clocks right, or find out who writes to this topic",
                **where,
            )

    def _note_publisher(self, heard: _Heard, status: CameraStatus, at_ms: int) -> None:
        if status.publisher == self._publisher:
            return
        heard.publishers.pop(status.publisher, None)
        if status.last_error == STOPPED:
            return
        heard.publishers[status.publisher] = heard.other_ms = at_ms
        if len(heard.publishers) > _MOST_PUBLISHERS:
            del heard.publishers[next(iter(heard.publishers))]

    def _forget_silent(self) -> None:
        """Forget the publishers that are not there any more; the newest session stays."""
        since = self._fresh_since_ms()
        for heard in self._cameras.values():
            for publisher in [name for name, at_ms in heard.publishers.items() if at_ms < since]:
                del heard.publishers[publisher]

    def _fresh_since_ms(self) -> int:
        return _now_ms() - round(self.fresh_seconds * 1000)

    def cameras_of(self, ingest: str | None) -> list[str]:
        """Those of them that an ingest of this name published last; the rest stand in settings that we do not know."""
        return [name for name in self.cameras if self._cameras[name].ingest == ingest]

    def last_session(self, camera: str) -> int:
        """The newest session that any publisher has named and that can be; 0 where there is none."""
        return max(self.sessions(camera), default=0)

    def sessions(self, camera: str) -> list[int]:
        """The newest few sessions that any publisher has named, in order."""
        heard = self._cameras.get(camera)
        return list(heard.sessions) if heard else []

    def last_heard_ms(self, camera: str) -> int | None:
        """When another process last published this camera, by our clock; None where none did."""
        heard = self._cameras.get(camera)
        return heard.other_ms if heard else None

    def rival(self, camera: str) -> str | None:
        """Another process that publishes this camera now; None when there is none. Of several the first by name."""
        heard = self._cameras.get(camera)
        publishers = heard.publishers if heard else {}
        since = self._fresh_since_ms()
        return min((name for name, at_ms in publishers.items() if at_ms >= since), default=None)

    def close(self) -> None:
        """Stop reading."""
        self._reader.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
