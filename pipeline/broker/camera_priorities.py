"""Which cameras are shed first under overload: from the settings, and for cameras that they do not name from ingest.

settings of the worker   cameras.<id>.priority    wins, and follows edits of the file
cameras topic            priority of the status   for every other camera
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import structlog

from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of
from pipeline.config.cameras import CameraSettings
from pipeline.errors import ActionwireError, BadRecordError
from pipeline.records.cameras import decode_status
from pipeline.records.wire import Record

LISTEN_SECONDS = 2.0
"""How often the cameras topic is read: a priority is needed under overload, which lasts."""

log = structlog.get_logger(__name__)


class CameraPriorities:
    """Priority of every camera that is known. Thread-safe."""

    def __init__(self, cameras: Mapping[str, CameraSettings] | None = None) -> None:
        """cameras: those of the settings."""
        self._settings = {name: camera.priority for name, camera in (cameras or {}).items()}
        self._published: dict[str, int] = {}

    def edited(self, cameras: Mapping[str, CameraSettings]) -> None:
        """The settings name these cameras from now on."""
        self._settings = {name: camera.priority for name, camera in cameras.items()}

    def published(self, camera: str, priority: int | None) -> None:
        """Ingest says this of a camera; None: it was removed."""
        if priority is None:
            self._published.pop(camera, None)
        else:
            self._published[camera] = priority

    def of(self, camera: str) -> int:
        """The priority of a camera, 0 where nobody gave it one."""
        named = self._settings.get(camera)
        return self._published.get(camera, 0) if named is None else named


def follow_priorities(broker: Broker, topic: str, priorities: CameraPriorities, ended: threading.Event) -> None:
    """Keep up with what ingest publishes of its cameras, until `ended`; the body of a thread.

    A topic that cannot be read is logged once: priorities stay as they were.
    """
    said = False
    while not ended.is_set():
        try:
            reader = broker.reader(partitions_of(broker, topic))
            try:
                while not ended.wait(LISTEN_SECONDS):
                    _take({record.key: record for record in reader.read(0.0)}, priorities)
                    said = False
            finally:
                reader.close()
        except ActionwireError as error:
            if not said:
                log.warning("priorities of cameras are not followed at the moment", reason=str(error))
            said = True
            ended.wait(LISTEN_SECONDS)


def _take(newest: Mapping[bytes | None, Record], priorities: CameraPriorities) -> None:
    for key, record in newest.items():
        camera = (key or b"").decode(errors="replace")
        try:
            priorities.published(camera, decode_status(key, record.value).priority if record.value else None)
        except BadRecordError:  # ingest and `actionwire status` say what is wrong with it
            continue
