"""The pictures that the bundle in use takes, as workers report it on the control topic (`ingest.fit: auto`)."""

from __future__ import annotations

import structlog

from engines.strict_json import short
from pipeline.broker.contract import Broker
from pipeline.errors import BadRecordError, TransientError
from pipeline.records.label_report import PictureForm, decode_report, is_report
from pipeline.records.wire import Partition

log = structlog.get_logger(__name__)


class BundleForm:
    """Follows the control topic from its beginning. `poll` belongs to one thread; `form` may be read from any."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._reader = broker.reader([Partition(topic, 0)])
        self._groups: dict[str, PictureForm] = {}
        self._readable = True
        self.form: PictureForm | None = None
        """What all groups of workers take. None while none has said it, and where they take different pictures: what
        one of them takes may lack what another one needs."""

    def poll(self) -> None:
        """Take the reports that have come. A broker that is away is logged once, and the form stays."""
        try:
            for record in self._reader.read(0.0):
                if is_report(record.key):
                    self._take(record.key, record.value)
            self._readable = True
        except TransientError as error:
            if self._readable:
                log.warning("cannot read which pictures the bundle takes", reason=str(error))
            self._readable = False
        self._agree()

    def close(self) -> None:
        """Stop reading."""
        self._reader.close()

    def _take(self, key: bytes | None, value: bytes | None) -> None:
        try:
            report = decode_report(key, value)
        except BadRecordError as error:
            log.warning("unusable report of a worker", key=short(key), reason=str(error))
            return
        if report.input is not None:
            self._groups[report.group] = report.input

    def _agree(self) -> None:
        before, wanted = self.form, set(self._groups.values())
        self.form = wanted.pop() if len(wanted) == 1 else None
        if self.form == before:
            return
        if self.form is not None:
            log.info("frames are scaled to what the bundle takes", form=self.form)
        else:
            log.warning(
                "groups of workers take different pictures; frames are not scaled for any of them",
                groups=sorted(self._groups),
                remedy="set ingest.fit to a size that covers both, or to off",
            )
