"""The statuses that other processes publish on the cameras topic."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

import structlog

from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of, read_to_end
from pipeline.errors import BadRecordError, TransientError
from pipeline.ingest.status import ReceivedStatus, rival
from pipeline.records.cameras import decode_status
from pipeline.records.wire import Record

log = structlog.get_logger(__name__)

_SHOWN = 100
"""Characters of a stranger's text in a log line."""
AHEAD_MS = 24 * 3600 * 1000
"""A session further ahead of our clock is forged, or its clock is wrong. Sessions of ours that are newer still would
silence the camera, since workers take none that is no time."""


class OtherPublishers:
    """Follows the cameras topic from its beginning.

    Raises ConfigurationError when the topic does not exist, BrokerTimeout when it cannot be read to its end.
    """

    def __init__(self, broker: Broker, topic: str, publisher: str) -> None:
        self._publisher = publisher
        self._statuses: dict[str, dict[str, ReceivedStatus]] = {}
        self._readable = True
        self._reader = broker.reader(partitions_of(broker, topic))
        self._take(read_to_end(self._reader), old=True)

    def poll(self) -> None:
        """Take the statuses that have come. A broker that is away is logged once."""
        try:
            self._take(self._reader.read(0.0))
            self._readable = True
        except TransientError as error:
            if self._readable:
                log.warning("cannot read the statuses of other publishers", reason=str(error))
            self._readable = False

    def _take(self, records: Iterable[Record], *, old: bool = False) -> None:
        """Keep each status with its time, which decides who still publishes.

        That time is now, by our clock, since the clocks of other machines may be hours off. Records from before the
        start are `old`: they carry only their own time stamps, and cannot be later than now.
        """
        for record in records:
            camera = (record.key or b"").decode(errors="replace")
            if record.value is None:
                self._statuses.pop(camera, None)
                continue
            where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            try:
                status = decode_status(record.key, record.value)
            except BadRecordError as error:
                log.warning("unusable camera status", camera=camera[:_SHOWN], reason=str(error), **where)
                continue
            now = _now_ms()
            if status.session is not None and status.session > now + AHEAD_MS:
                log.error(
                    "a camera status names a session of the future; ours do not follow it",
                    camera=camera,
                    session=status.session,
                    publisher=status.publisher[:_SHOWN],
                    remedy="set the clocks right, or find out who writes to this topic",
                    **where,
                )
                status = replace(status, session=None)
            at_ms = min(record.timestamp_ms, now) if old else now
            self._statuses.setdefault(camera, {})[status.publisher] = ReceivedStatus(status, at_ms)

    def last_session(self, camera: str) -> int:
        """The newest session that any publisher has named and that can be; 0 where there is none."""
        sessions = [one.status.session or 0 for one in self._statuses.get(camera, {}).values()]
        return max(sessions, default=0)

    def rival(self, camera: str, fresh_seconds: float) -> str | None:
        """Another process that publishes this camera now."""
        newest = self._statuses.get(camera, {}).values()
        return rival(newest, self._publisher, _now_ms(), round(fresh_seconds * 1000))

    def close(self) -> None:
        """Stop reading."""
        self._reader.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
