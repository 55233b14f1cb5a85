"""Decodes records for analysis: first the wire form, then the pixels of a frame at the bundle's size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from engines.contract import Images
from pipeline.analysis.camera_streams import Decoded, Frame
from pipeline.analysis.rewind import Pictures
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
    return _decoded(record, kept, lambda frame: (_bare(frame), prepare(frame.jpeg, frame.pixel)))


def decode_again(record: Record, prepare: Prepare, pictures: Pictures | None, kept: Frame | None = None) -> Decoded:
    """Decode a record below P, which was analysed before: its frame only refills a ring.

    pictures: which of them a window may need, if that is known. Of others only the headers are read. One that may be
    needed keeps its JPEG until it is, since the rings of many cameras would hold pixels for long.
    """

    def refilling(frame: FrameRecord) -> tuple[FrameRecord, None]:
        if pictures is not None and record.offset in pictures.bad:
            raise BadRecordError("jpeg", "a frame that could not be decoded before")
        if pictures is not None and record.offset < pictures.since:
            return _bare(frame), None
        prepare(frame.jpeg, frame.pixel)  # whether this works decides whether the frame counts
        return frame, None

    return _decoded(record, kept, refilling)


def _decoded(
    record: Record, kept: Frame | None, pictured: Callable[[FrameRecord], tuple[FrameRecord, Images | None]]
) -> Decoded:
    """What becomes of a record; `pictured` says it of a frame whose item is not kept."""
    offset, appended_ms = record.offset, record.timestamp_ms
    try:
        content = decode_stream_record(record.key, record.value, record.headers)
        if not isinstance(content, FrameRecord):
            return Decoded(offset, content, appended_ms=appended_ms)
        if kept is not None and (item := item_of(kept, _bare(content))) is not None:
            return Decoded(offset, _bare(content), item=item, appended_ms=appended_ms)
        frame, image = pictured(content)
    except BadRecordError as error:
        return Decoded(offset, error, raw=record, appended_ms=appended_ms)
    return Decoded(offset, frame, image, appended_ms=appended_ms)


def _bare(frame: FrameRecord) -> FrameRecord:
    return replace(frame, jpeg=b"")
