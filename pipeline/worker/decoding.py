"""Decodes records for analysis: first the wire form, then the pixels of a frame at the bundle's size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from engines.contract import Images
from pipeline.analysis.camera_streams import Decoded
from pipeline.errors import BadRecordError
from pipeline.records.frames import FrameRecord, decode_stream_record
from pipeline.records.wire import Record

Prepare: TypeAlias = Callable[[bytes], Images]
"""JPEG bytes to RGB uint8 [H, W, 3] at the engine's input size. Raises BadRecordError."""


def decode(record: Record, prepare: Prepare) -> Decoded:
    """Decode a record of the frames topic. A bad record raises nothing: its error is the content."""
    try:
        content = decode_stream_record(record.key, record.value, record.headers)
        if not isinstance(content, FrameRecord):
            return Decoded(record.offset, content, appended_ms=record.timestamp_ms)
        image = prepare(content.jpeg)
    except BadRecordError as error:
        return Decoded(record.offset, error, raw=record, appended_ms=record.timestamp_ms)
    return Decoded(record.offset, replace(content, jpeg=b""), image, appended_ms=record.timestamp_ms)
