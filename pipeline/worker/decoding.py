"""Decodes records for analysis: first the wire form, then the pixels of a frame at the bundle's size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from engines.contract import Images
from pipeline.analysis.camera_streams import Decoded
from pipeline.analysis.ticks import tick_ns
from pipeline.errors import BadRecordError
from pipeline.records.frames import (
    LATEST_NS,
    LATEST_SESSION,
    FrameRecord,
    LabelsMarker,
    StreamRecord,
    decode_stream_record,
)
from pipeline.records.wire import Record

Prepare: TypeAlias = Callable[[bytes], Images]
"""JPEG bytes to RGB uint8 [H, W, 3] at the engine's input size. Raises BadRecordError."""

MAX_CAMERA_ID = 200
"""Characters of a camera id; the settings allow no more than 100."""
MAX_RATE = 1000


def decode(record: Record, prepare: Prepare) -> Decoded:
    """Decode a record of the frames topic. A bad record raises nothing: its error is the content."""
    try:
        content = decode_stream_record(record.key, record.value, record.headers)
        _check_plausible(content)
        if not isinstance(content, FrameRecord):
            return Decoded(record.offset, content, appended_ms=record.timestamp_ms)
        image = prepare(content.jpeg)
    except BadRecordError as error:
        return Decoded(record.offset, error, raw=record, appended_ms=record.timestamp_ms)
    return Decoded(record.offset, replace(content, jpeg=b""), image, appended_ms=record.timestamp_ms)


def _check_plausible(content: StreamRecord) -> None:
    """Refuse numbers that would break arithmetic further on, where the error would look like a fault of our own."""
    if isinstance(content, LabelsMarker):
        if not 0 <= content.version < 2**62:
            raise BadRecordError("range", f"label version {content.version} is no offset")
        return
    if len(content.camera) > MAX_CAMERA_ID:
        raise BadRecordError(
            "range", f"camera id of {len(content.camera)} characters, at most {MAX_CAMERA_ID} are taken"
        )
    if not 0 <= content.session < LATEST_SESSION:
        raise BadRecordError("range", f"session {content.session} is no wall time in milliseconds")
    if isinstance(content, FrameRecord):
        if content.rate > MAX_RATE:
            raise BadRecordError("range", f"{content.rate} frames per second, at most {MAX_RATE} are taken")
        if not 0 <= tick_ns(content.tick, content.rate, content.camera) < LATEST_NS:
            raise BadRecordError("range", f"tick {content.tick} is no instant between 1970 and 2116")
        if not 0 <= content.capture_ns < LATEST_NS:
            raise BadRecordError("range", f"capture time {content.capture_ns} is no instant between 1970 and 2116")
