"""The cameras topic: what ingest knows of a camera, compacted by camera id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from engines.canonical import canonical_json
from engines.strict_json import short
from pipeline.errors import BadRecordError
from pipeline.records.fields import (
    AtLeastOne,
    CameraId,
    Count,
    Finite,
    Milliseconds,
    Name,
    NotNegative,
    Priority,
    Session,
    Text,
    checked,
)
from pipeline.records.frames import Clock
from pipeline.records.wire import Message, camera_of, json_object_of_schema, plain

STATUS_SCHEMA = 1

STOPPED = "ingest has stopped"
"""`last_error` of the last status that an ingest process writes before it ends."""

FRESH_PERIODS = 3
"""A process counts as gone when it has said nothing for this many periods (`ingest.status_seconds`)."""

CameraCondition: TypeAlias = Literal["online", "offline", "stalled"]


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """What ingest knows of a camera. Compacted by camera id; a camera that was removed gets a tombstone."""

    camera: CameraId
    condition: CameraCondition
    since_ms: Milliseconds
    """Wall time at which this condition began."""
    session: Session | None
    """The newest session that is known. A successor's sessions must be newer. None before the first."""
    fps: NotNegative | None
    """Frames per second that the source delivers."""
    width: AtLeastOne | None
    height: AtLeastOne | None
    codec: Text | None
    clock: Clock | None
    clock_offset_seconds: Finite | None
    """The camera's clock less that of ingest."""
    dropped: Count
    """Frames that were dropped since the process started, because the broker did not take them in time."""
    publisher: Name
    """Id of the ingest process that wrote this."""
    conflict: Text | None
    """Id of another process that publishes the same camera, where one was noticed."""
    last_error: Text | None
    """Credentials masked."""
    priority: Priority = 0
    """Of the camera's settings: under overload cameras of lower priority are shed first."""
    ingest: Text | None = None
    """`ingest.name` of the process that wrote this: only one of that name takes the camera for its own when it is gone
    from the settings."""


def encode_status(status: CameraStatus) -> Message:
    """Put a camera status into wire form."""
    return Message(status.camera.encode(), canonical_json({"schema": STATUS_SCHEMA, **plain(status)}))


def decode_status(key: bytes | None, value: bytes | None) -> CameraStatus:
    """Read a camera status. Raises BadRecordError, also where the key names another camera."""
    camera = camera_of(key)
    document = json_object_of_schema(value, STATUS_SCHEMA, "camera status")
    status = checked(CameraStatus, document, "camera status")
    if status.camera != camera:
        raise BadRecordError("key", f"status of camera {short(status.camera)} under the key {short(camera)}")
    return status
