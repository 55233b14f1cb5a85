from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.analysis.camera_streams import Decoded, Frame
from pipeline.analysis.rewind import Pictures
from pipeline.errors import BadRecordError
from pipeline.records.frames import EndMarker, FrameRecord, LabelsMarker, StreamRecord
from pipeline.records.jpeg import decode_jpeg, encode_jpeg
from pipeline.records.wire import Partition
from pipeline.testing import as_record, frame
from pipeline.worker.decoding import decode, decode_again

P = Partition("frames", 2)
PICTURES = Pictures(6, 4, 4, 1, (4,))
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


def test_below_p_only_pictures_that_a_window_may_need_are_decoded() -> None:
    """They keep their bytes until then; of frames before W only the headers are read, and bad ones stay bad.

    offset     3      4 bad   5      6 = W     7
    decoded                          yes       broken
    """
    seen: list[bytes] = []

    def prepare(jpeg: bytes, pixel: float = 1.0) -> NDArray[np.uint8]:
        seen.append(jpeg)
        return decode_jpeg(jpeg)

    def again(offset: int, jpeg: bytes = JPEG, pictures: Pictures | None = PICTURES) -> Decoded:
        return decode_again(as_record(frame("door", offset, jpeg=jpeg), P, offset), prepare, pictures)

    assert again(3).content == replace(frame("door", 3), jpeg=b"") and again(3, b"whatever").image is None
    assert isinstance(again(4).content, BadRecordError) and seen == []
    assert again(6).content == frame("door", 6, jpeg=JPEG) and again(6).image is None and len(seen) == 2
    broken = again(7, b"no picture")
    assert isinstance(broken.content, BadRecordError) and broken.content.reason == "jpeg"
    assert again(3, pictures=None).content == frame("door", 3, jpeg=JPEG), "whoever does not know decodes all"


def test_a_picture_whose_item_is_kept_is_not_decoded() -> None:
    """At any offset; another frame is decoded as ever."""

    def refuse(jpeg: bytes, pixel: float = 1.0) -> NDArray[np.uint8]:
        raise AssertionError("decoded again")

    item = np.ones(3, np.float32)
    kept = Frame(replace(frame("door", 7), jpeg=b""), None, item)
    raw = as_record(frame("door", 7, jpeg=JPEG), P, 7)
    for found in (decode(raw, refuse, kept), decode_again(raw, refuse, None, kept)):
        assert found.item is item and found.image is None and found.content == kept.record
    assert decode(raw, plain, Frame(frame("door", 8), None, item)).image is not None


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
