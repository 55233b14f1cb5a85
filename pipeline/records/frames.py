"""The frames topic: sampled frames and the markers between them (ARCHITECTURE 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from pipeline.errors import BadRecordError
from pipeline.records.wire import Headers, Message

FRAME_SCHEMA = 1

Clock: TypeAlias = Literal["rtcp", "arrival"]
Departure: TypeAlias = Literal["lost", "removed", "replaced"]
"""Why a session ended."""

LATEST_NS = 2**62
"""Instants end in the year 2116: what lies beyond is forged, and arithmetic on it would overflow."""
LATEST_SESSION = LATEST_NS // 1_000_000
"""Sessions are named by wall time in ms."""


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One sampled frame of one camera."""

    camera: str
    session: int
    """Wall time in ms at which ingest opened the session; larger is newer."""
    sequence: int
    """Counts the published frames of a session from 0."""
    tick: int
    rate: int
    """Frames per second of the tick grid."""
    capture_ns: int
    clock: Clock
    width: int
    height: int
    jpeg: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EndMarker:
    """A camera is gone: it applies only if session and last tick are still the camera's."""

    camera: str
    session: int
    last_tick: int
    reason: Departure


@dataclass(frozen=True, slots=True)
class LabelsMarker:
    """From here on, this partition is scored against this version of the label set (an offset of the control topic)."""

    version: int


StreamRecord: TypeAlias = FrameRecord | EndMarker | LabelsMarker


def _int(headers: Mapping[str, bytes], name: str) -> int:
    try:
        return int(headers[name])
    except KeyError:
        raise BadRecordError("missing_header", f"frame record without header {name!r}") from None
    except ValueError:
        raise BadRecordError("bad_header", f"header {name!r} is not an integer: {headers[name][:40]!r}") from None


def encode_stream_record(record: StreamRecord) -> Message:
    """Put a frame or a marker into wire form. A labels marker has no key: its sender names the partition."""
    kind, key, value, numbers, words = _parts(record)
    headers = [("schema", str(FRAME_SCHEMA).encode()), ("kind", kind.encode())]
    headers += [(name, str(number).encode()) for name, number in numbers.items()]
    headers += [(name, word.encode()) for name, word in words.items()]
    return Message(key=key, value=value, headers=tuple(headers))


def _parts(record: StreamRecord) -> tuple[str, bytes | None, bytes, dict[str, int], dict[str, str]]:
    match record:
        case FrameRecord():
            numbers = {
                "session": record.session,
                "seq": record.sequence,
                "tick": record.tick,
                "rate": record.rate,
                "capture_ns": record.capture_ns,
                "width": record.width,
                "height": record.height,
            }
            return "frame", record.camera.encode(), record.jpeg, numbers, {"clock": record.clock}
        case EndMarker():
            numbers = {"session": record.session, "tick": record.last_tick}
            return "end", record.camera.encode(), b"", numbers, {"reason": record.reason}
        case LabelsMarker():
            return "labels", None, b"", {"version": record.version}, {}


def decode_stream_record(key: bytes | None, value: bytes | None, headers: Headers) -> StreamRecord:
    """Read a frame or a marker from wire form.

    Raises BadRecordError: unknown schema or kind, missing or malformed header, missing key, empty value of a frame.
    Whether the value is a JPEG is seen only when it is decoded.
    """
    found = dict(headers)
    if found.get("schema") != str(FRAME_SCHEMA).encode():
        raise BadRecordError("schema", f"frame record of schema {found.get('schema')!r}, expected {FRAME_SCHEMA}")
    kind = found.get("kind")
    if kind == b"labels":
        return LabelsMarker(version=_int(found, "version"))
    if kind not in (b"frame", b"end"):
        raise BadRecordError("kind", f"frame record of unknown kind {kind!r}")
    camera = _camera(key)
    if kind == b"end":
        reason = found.get("reason", b"").decode(errors="replace")
        if reason not in ("lost", "removed", "replaced"):
            raise BadRecordError("bad_header", f"end marker with unknown reason {reason!r}")
        return EndMarker(camera, _int(found, "session"), _int(found, "tick"), cast(Any, reason))
    if not value:
        raise BadRecordError("empty", f"frame record of camera {camera!r} with an empty value")
    clock = found.get("clock", b"").decode(errors="replace")
    if clock not in ("rtcp", "arrival"):
        raise BadRecordError("bad_header", f"header 'clock' is neither rtcp nor arrival: {clock!r}")
    rate = _int(found, "rate")
    if rate < 1:
        raise BadRecordError("bad_header", f"header 'rate' must be at least 1, not {rate}")
    return FrameRecord(
        camera=camera,
        session=_int(found, "session"),
        sequence=_int(found, "seq"),
        tick=_int(found, "tick"),
        rate=rate,
        capture_ns=_int(found, "capture_ns"),
        clock=cast(Clock, clock),
        width=_int(found, "width"),
        height=_int(found, "height"),
        jpeg=value,
    )


def _camera(key: bytes | None) -> str:
    try:
        camera = (key or b"").decode()
    except UnicodeDecodeError:
        raise BadRecordError("key", f"camera id is not UTF-8: {(key or b'')[:40]!r}") from None
    if not camera:
        raise BadRecordError("key", "record without a camera id as its key")
    return camera
