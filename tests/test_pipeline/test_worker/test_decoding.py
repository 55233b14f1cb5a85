from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import BadRecordError
from pipeline.records.frames import EndMarker, FrameRecord, LabelsMarker, StreamRecord
from pipeline.records.jpeg import decode_jpeg, encode_jpeg
from pipeline.records.wire import Partition
from pipeline.testing import as_record, frame
from pipeline.worker.decoding import decode

P = Partition("frames", 2)
JPEG = encode_jpeg(np.full((8, 8, 3), 200, np.uint8))


def test_a_frame_brings_its_picture_and_leaves_its_bytes() -> None:
    """The JPEG is not kept once it was decoded."""
    found = decode(as_record(frame("door", 7, jpeg=JPEG), P, 5), plain)
    assert found.content == replace(frame("door", 7), jpeg=b"") and found.offset == 5 and found.raw is None
    assert found.image is not None and found.image.shape == (8, 8, 3)


def test_a_frame_that_was_squashed_says_so_to_the_bundle() -> None:
    """A bundle that takes the centre needs the shape that the scene had."""
    seen: list[float] = []

    def prepare(jpeg: bytes, pixel: float = 1.0) -> NDArray[np.uint8]:
        seen.append(pixel)
        return decode_jpeg(jpeg)

    for scene in (None, (4, 2)):
        decode(as_record(replace(frame("door", 7, jpeg=JPEG), scene=scene), P, 5), prepare)

    assert seen == [1.0, 2.0]


def plain(jpeg: bytes, pixel: float = 1.0) -> NDArray[np.uint8]:
    """What a bundle of any size takes."""
    return decode_jpeg(jpeg)


@pytest.mark.parametrize("marker", [EndMarker("door", 1, 7, "lost"), LabelsMarker(3)])
def test_a_marker_has_no_picture(marker: StreamRecord) -> None:
    """Markers pass as they are."""
    found = decode(as_record(marker, P, 5), plain)
    assert found.content == marker and found.image is None


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (frame("door", 7, jpeg=b"no picture"), "jpeg"),
        (frame("door", 10**30, jpeg=JPEG), "range"),
        (frame("door", -1, jpeg=JPEG), "range"),
        (frame("door", 7, rate=10**6, jpeg=JPEG), "range"),
        (frame("door", 7, session=10**40, jpeg=JPEG), "range"),
        (replace(frame("door", 7, jpeg=JPEG), capture_ns=10**400), "range"),
        (replace(frame("door", 7, jpeg=JPEG), capture_ns=-1), "range"),
        (frame("d" * 5000, 7, jpeg=JPEG), "range"),
        (LabelsMarker(2**80), "range"),
        (EndMarker("door", -1, 7, "lost"), "range"),
    ],
)
def test_what_cannot_be_used_says_why(record: FrameRecord, reason: str) -> None:
    """A broken picture or an impossible number makes a bad record, which is kept for the dead letters."""
    raw = as_record(record, P, 5)
    found = decode(raw, plain)
    assert isinstance(found.content, BadRecordError) and found.content.reason == reason and found.raw is raw
