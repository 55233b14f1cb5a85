"""The frames topic: sampled frames and the markers between them (ARCHITECTURE 7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

from engines.strict_json import short
from pipeline.errors import BadRecordError
from pipeline.records.fields import LATEST_NS, LATEST_SECONDS, LATEST_SESSION, MAX_RATE
from pipeline.records.wire import Headers, Message, camera_of

FRAME_SCHEMA = 1

Clock: TypeAlias = Literal["rtcp", "arrival"]
Departure: TypeAlias = Literal["lost", "removed", "replaced"]
"""Why a session ended."""


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
    scene: tuple[int, int] | None = None
    """(width, height) of the picture before it was squashed to another shape; None where its shape was kept."""

    @property
    def pixel(self) -> float:
        """Width of a pixel of the scene by its height; 1 where the shape was kept."""
        return 1.0 if self.scene is None else self.scene[0] * self.height / (self.scene[1] * self.width)


@dataclass(frozen=True, slots=True)
class EndMarker:
    """A camera is gone. The marker applies only if session and last tick are still the camera's.

    `removed` applies by session alone, whatever the last tick.
    """

    camera: str
    session: int
    last_tick: int
    """0 where whoever removes the camera does not know it."""
    reason: Departure


@dataclass(frozen=True, slots=True)
class LabelsMarker:
    """From here on, this partition is scored against this version of the label set (an offset of the control topic)."""

    version: int


StreamRecord: TypeAlias = FrameRecord | EndMarker | LabelsMarker


_HEADERS = frozenset(
    (
        *("schema", "kind", "session", "seq", "tick", "rate", "capture_ns", "clock", "width", "height"),
        *("scene_width", "scene_height", "reason", "version"),
    )
)
_NUMBER = re.compile(rb"-?[0-9]{1,19}")
_RANGES: Mapping[str, tuple[int, int, str]] = {
    "session": (0, LATEST_SESSION - 1, "no wall time in milliseconds"),
    "seq": (0, 2**62, "no count"),
    "tick": (-(2**63), LATEST_SECONDS * MAX_RATE, "no instant before 2116"),
    "rate": (1, MAX_RATE, f"at least 1 and at most {MAX_RATE} are taken"),
    "capture_ns": (0, LATEST_NS - 1, "no instant between 1970 and 2116"),
    "width": (1, 65_535, "no side of a JPEG"),
    "height": (1, 65_535, "no side of a JPEG"),
    "scene_width": (1, 65_535, "no side of a picture"),
    "scene_height": (1, 65_535, "no side of a picture"),
    "version": (0, 2**62 - 1, "no offset"),
}
"""Least and greatest value of each header that is a number, and what one beyond them is."""


def _integer(headers: Mapping[str, bytes], name: str) -> int:
    """A header's number. One out of range would fail further on, where it looks like a fault of our own."""
    text = headers.get(name)
    if text is None:
        raise BadRecordError("missing_header", f"frame record without header {name!r}")
    least, greatest, otherwise = _RANGES[name]
    if not _NUMBER.fullmatch(text):
        if re.fullmatch(rb"-?[0-9]+", text):
            raise BadRecordError("range", f"header {name!r} is {short(text)}: {otherwise}")
        raise BadRecordError("bad_header", f"header {name!r} is not an integer: {short(text)}")
    number = int(text)
    if not least <= number <= greatest:
        raise BadRecordError("range", f"header {name!r} is {number}: {otherwise}")
    return number


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
            if record.scene is not None:
                numbers |= {"scene_width": record.scene[0], "scene_height": record.scene[1]}
            return "frame", record.camera.encode(), record.jpeg, numbers, {"clock": record.clock}
        case EndMarker():
            numbers = {"session": record.session, "tick": record.last_tick}
            return "end", record.camera.encode(), b"", numbers, {"reason": record.reason}
        case LabelsMarker():
            return "labels", None, b"", {"version": record.version}, {}


def decode_stream_record(key: bytes | None, value: bytes | None, headers: Headers) -> StreamRecord:
    """Read a frame or a marker from wire form; headers of other programs are ignored.

    Raises BadRecordError: unknown schema or kind; a header that is missing, malformed, out of range or there twice; a
    key that is no camera id; a frame without a value. Whether the value is a JPEG shows when it is decoded.
    """
    found = _ours(headers)
    if found.get("schema") != str(FRAME_SCHEMA).encode():
        raise BadRecordError("schema", f"frame record of schema {short(found.get('schema'))}, expected {FRAME_SCHEMA}")
    kind = found.get("kind")
    if kind == b"labels":
        return LabelsMarker(version=_integer(found, "version"))
    if kind == b"end":
        reason = _word(found, "reason", ("lost", "removed", "replaced"))
        return EndMarker(camera_of(key), _integer(found, "session"), _integer(found, "tick"), cast(Departure, reason))
    if kind != b"frame":
        raise BadRecordError("kind", f"frame record of unknown kind {short(kind)}")
    return _frame(camera_of(key), value, found)


def _frame(camera: str, value: bytes | None, headers: Mapping[str, bytes]) -> FrameRecord:
    if not value:
        raise BadRecordError("empty", f"frame record of camera {short(camera)} with an empty value")
    tick, rate = _integer(headers, "tick"), _integer(headers, "rate")
    if not 0 <= tick < LATEST_SECONDS * rate:
        raise BadRecordError("range", f"tick {tick} is no instant between 1970 and 2116 at {rate} per second")
    return FrameRecord(
        camera=camera,
        session=_integer(headers, "session"),
        sequence=_integer(headers, "seq"),
        tick=tick,
        rate=rate,
        capture_ns=_integer(headers, "capture_ns"),
        clock=cast(Clock, _word(headers, "clock", ("rtcp", "arrival"))),
        width=_integer(headers, "width"),
        height=_integer(headers, "height"),
        jpeg=value,
        scene=_scene(headers),
    )


def _scene(headers: Mapping[str, bytes]) -> tuple[int, int] | None:
    if "scene_width" not in headers and "scene_height" not in headers:
        return None
    return _integer(headers, "scene_width"), _integer(headers, "scene_height")


def _ours(headers: Headers) -> Mapping[str, bytes]:
    found = dict(headers)
    if len(found) < len(headers):
        names = [name for name, _ in headers]
        if twice := [name for name in names if name in _HEADERS and names.count(name) > 1]:
            raise BadRecordError("bad_header", f"header {twice[0]!r} stands twice")
    return found


def _word(headers: Mapping[str, bytes], name: str, words: tuple[str, ...]) -> str:
    text = headers.get(name)
    if text is None:
        raise BadRecordError("missing_header", f"frame record without header {name!r}")
    if (word := text.decode(errors="replace")) not in words:
        raise BadRecordError("bad_header", f"header {name!r} is none of {', '.join(words)}: {short(text)}")
    return word
