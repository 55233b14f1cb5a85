"""What other processes say on the cameras topic."""

from __future__ import annotations

import time
from dataclasses import replace

import structlog

from pipeline.broker.contract import Broker
from pipeline.errors import BadRecordError, BrokerTimeout, ConfigurationError, TransientError
from pipeline.ingest.shard import Heard, rival
from pipeline.records.cameras import decode_status
from pipeline.records.wire import Partition, Record

log = structlog.get_logger(__name__)

_SECONDS = 10.0
_SHOWN = 100
"""Characters of a stranger's text in a log line."""
AHEAD_MS = 24 * 3600 * 1000
"""A session further ahead of our clock is forged, or its clock is wrong. Sessions of ours that are newer still would
silence the camera, since workers take none that is no time."""


class Hearing:
    """Reads the cameras topic from its beginning and then along.

    Raises ConfigurationError when the topic does not exist, BrokerTimeout when it cannot be read to its end.
    """

    def __init__(self, broker: Broker, topic: str, publisher: str) -> None:
        count = broker.partition_counts([topic], _SECONDS).get(topic)
        if count is None:
            raise ConfigurationError(f"topic {topic} does not exist; create the topics with `actionwire topics`")
        self._publisher = publisher
        self._heard: dict[str, dict[str, Heard]] = {}
        self._quiet = True
        self._reader = broker.reader([Partition(topic, number) for number in range(count)])
        self._read_to_the_end(topic)

    def _read_to_the_end(self, topic: str) -> None:
        deadline = time.monotonic() + _SECONDS
        ends = {partition: end for partition, (_, end) in self._reader.bounds(_SECONDS).items()}
        while any(self._reader.positions().get(partition, 0) < end for partition, end in ends.items()):
            if time.monotonic() > deadline:
                raise BrokerTimeout(f"{topic} could not be read within {_SECONDS:g} s; is the broker overloaded?")
            self._take(self._reader.read(0.1), old=True)

    def listen(self) -> None:
        """Take in what has come. A broker that is away is logged once."""
        try:
            self._take(self._reader.read(0.0))
            self._quiet = True
        except TransientError as error:
            if self._quiet:
                log.warning("cannot hear other publishers", reason=str(error))
            self._quiet = False

    def _take(self, records: list[Record], *, old: bool = False) -> None:
        """Note what was said, and when: now, by our clock, since other machines' may be hours off and it decides who is
        still there. Of what is `old` there is only the time of the record, which cannot be later."""
        now = time.time_ns() // 1_000_000
        for record in records:
            camera = (record.key or b"").decode(errors="replace")
            if record.value is None:
                self._heard.pop(camera, None)
                continue
            where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            try:
                status = decode_status(record.key, record.value)
            except BadRecordError as error:
                log.warning("unusable camera status", camera=camera[:_SHOWN], reason=str(error), **where)
                continue
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
            said = min(record.timestamp_ms, now) if old else now
            self._heard.setdefault(camera, {})[status.publisher] = Heard(status, said)

    def last_session(self, camera: str) -> int:
        """Newest session that anybody has told of and that can be, 0 where there is none."""
        sessions = [heard.status.session or 0 for heard in self._heard.get(camera, {}).values()]
        return max(sessions, default=0)

    def rival(self, camera: str, fresh_seconds: float) -> str | None:
        """Another process that publishes this camera at the moment."""
        heard = self._heard.get(camera, {}).values()
        return rival(heard, self._publisher, time.time_ns() // 1_000_000, round(fresh_seconds * 1000))

    def close(self) -> None:
        """Stop listening."""
        self._reader.close()
