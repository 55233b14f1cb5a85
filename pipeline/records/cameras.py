"""The cameras topic: what ingest knows of a camera, compacted by camera id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from engines.canonical import canonical_json
from pipeline.errors import BadRecordError
from pipeline.records.frames import LATEST_SESSION, Clock
from pipeline.records.wire import Message, json_object, plain

STATUS_SCHEMA = 1

STOPPED = "ingest has stopped"
"""`last_error` of the last status that an ingest process writes before it ends: it reads the camera no more."""

FRESH_PERIODS = 3
"""A process that was not heard of for so many periods (`ingest.status_seconds`) is not there any more."""

CameraCondition: TypeAlias = Literal["online", "offline", "stalled"]


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """What ingest knows of a camera. Compacted by camera id; a camera that was removed gets a tombstone."""

    camera: str
    condition: CameraCondition
    since_ms: int
    """Wall time at which this condition began."""
    session: int | None
    """The newest session that is known, so that a successor's are newer still; None before the first."""
    fps: float | None
    """Frames per second that the source delivers."""
    width: int | None
    height: int | None
    codec: str | None
    clock: Clock | None
    clock_offset_seconds: float | None
    """Camera's clock less ingest's clock."""
    dropped: int
    """Frames dropped because the broker did not take them in time, since the process started."""
    publisher: str
    """Id of the ingest process that wrote this."""
    conflict: str | None
    """Id of another process that publishes the same camera, where one was noticed."""
    last_error: str | None
    """Credentials masked."""


def encode_status(status: CameraStatus) -> Message:
    """Put a camera status into wire form."""
    return Message(status.camera.encode(), canonical_json({"schema": STATUS_SCHEMA, **plain(status)}))


def decode_status(value: bytes | None) -> CameraStatus:
    """Read a camera status. Raises BadRecordError."""
    document = json_object(value, "camera status")
    if document.pop("schema", None) != STATUS_SCHEMA:
        raise BadRecordError("schema", f"camera status of an unknown schema, expected {STATUS_SCHEMA}")
    try:
        status = CameraStatus(**document)
    except TypeError as error:
        raise BadRecordError("fields", f"camera status with a missing or unknown field: {error}") from error
    if status.session is not None and not (type(status.session) is int and 0 <= status.session < LATEST_SESSION):
        raise BadRecordError("fields", f"session {status.session!r} of a camera status is no wall time in milliseconds")
    if not isinstance(status.publisher, str):
        raise BadRecordError("fields", f"publisher {status.publisher!r} of a camera status is no name")
    return status
