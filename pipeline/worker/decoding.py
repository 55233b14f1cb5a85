"""Decodes records for analysis: first the wire form, then the pixels of a frame at the bundle's size."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from engines.contract import Images
from pipeline.analysis.camera_streams import Decoded, Frame
from pipeline.errors import BadRecordError
from pipeline.records.frames import FrameRecord, decode_stream_record
from pipeline.records.wire import Record
from pipeline.worker.inference.kept_items import item_of


class Prepare(Protocol):
    """JPEG bytes to RGB uint8 [H, W, 3] at the engine's input size."""

    def __call__(self, jpeg: bytes, pixel: float = 1.0) -> Images:
        """pixel: width of one of its pixels by its height (`FrameRecord.pixel`). Raises BadRecordError."""
        ...


def decode(record: Record, prepare: Prepare, kept: Frame | None = None) -> Decoded:
    """Decode a record of the frames topic. A bad record raises nothing: its error is the content.

    kept: the frame that had this offset when its item was kept; if it is the same, its picture is not decoded again.
    """
    try:
        content = decode_stream_record(record.key, record.value, record.headers)
        if not isinstance(content, FrameRecord):
            return Decoded(record.offset, content, appended_ms=record.timestamp_ms)
        bare = replace(content, jpeg=b"")
        if (item := item_of(kept, bare)) is not None:
            return Decoded(record.offset, bare, item=item, appended_ms=record.timestamp_ms)
        image = prepare(content.jpeg, content.pixel)
    except BadRecordError as error:
        return Decoded(record.offset, error, raw=record, appended_ms=record.timestamp_ms)
    return Decoded(record.offset, bare, image, appended_ms=record.timestamp_ms)
