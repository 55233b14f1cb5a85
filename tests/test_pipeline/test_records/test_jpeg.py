import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadRecordError
from pipeline.records import jpeg
from pipeline.records.jpeg import decode_jpeg, encode_jpeg


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    """Red on the left, blue on the right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = 200
    image[:, width // 2 :, 2] = 200
    return image


def test_a_picture_survives_with_its_colours_in_order() -> None:
    """RGB in, RGB out, of the same size and nearly the same values."""
    image = picture()

    found = decode_jpeg(encode_jpeg(image, 95))

    assert (found.shape, found.dtype) == ((48, 64, 3), np.uint8)
    assert np.abs(found.astype(int) - image)[:, [2, 60]].max() < 12


def test_equal_pictures_have_equal_bytes_and_quality_costs_size() -> None:
    """Encoding is a function of picture and quality."""
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)

    assert encode_jpeg(noise, 60) == encode_jpeg(noise.copy(), 60)
    assert len(encode_jpeg(noise, 60)) < len(encode_jpeg(noise, 95))


def test_a_grey_jpeg_becomes_three_channels() -> None:
    """A JPEG of one channel, as night cameras send, is decoded to RGB."""
    _, data = cv2.imencode(".jpg", np.full((8, 8), 90, np.uint8))

    assert decode_jpeg(data.tobytes()).shape == (8, 8, 3)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"garbage",
        b"\xff\xd8",
        b"\xff\xd8\xff\xc0\x00",
        encode_jpeg(picture())[:180],
        b"\x89PNG\r\n\x1a\n" + b"0" * 50,
    ],
)
def test_what_is_not_a_jpeg_is_a_bad_record(value: bytes | None) -> None:
    """Empty, garbage, cut short or another format: one kind of error, with a stable reason."""
    with pytest.raises(BadRecordError) as caught:
        decode_jpeg(value)

    assert caught.value.reason == "jpeg"


def test_a_jpeg_that_claims_gigabytes_is_refused() -> None:
    """The size in the header is read before memory is taken."""
    data = bytearray(encode_jpeg(picture()))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"

    with pytest.raises(BadRecordError, match="65535 x 65535"):
        decode_jpeg(bytes(data))


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_decode_or_are_a_bad_record(value: bytes, marked: bool) -> None:
    """Whatever the bytes, nothing but a picture or a BadRecordError comes out."""
    try:
        assert decode_jpeg(b"\xff\xd8\xff" * marked + value).ndim == 3
    except BadRecordError as error:
        assert error.reason == "jpeg"


def test_opencv_starts_no_threads_of_its_own() -> None:
    """Frames are decoded side by side by threads of ours; more of them would only take CPUs from inference."""
    assert cv2.getNumThreads() == 1


def with_size(value: bytes, width: int, height: int) -> bytes:
    """The same JPEG with another size in its frame header."""
    at = value.index(b"\xff\xc0")
    return value[: at + 5] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + value[at + 9 :]


GOOD = encode_jpeg(picture())
COMMENT = b"\xff\xfe\x00\x06abcd"
TEM = b"\xff\x01"
HIDDEN = b"\xff\xfe\xff\xff" + bytes(65_276) + b"\xff\xc0\x00\x11\x08\x00\x10\x00\x10" + bytes(248)
"""A comment of 64 KiB with a small frame header where one who takes a fill byte for a marker lands."""
FILLINGS = [b"\xff", b"\xff" * 9, COMMENT, COMMENT + b"\xff\xff" + COMMENT, TEM, TEM + b"\xff"]
HIDING = [*(b"\xff" * number + HIDDEN for number in range(4)), TEM + HIDDEN, COMMENT + HIDDEN]


@pytest.mark.parametrize("filling", FILLINGS)
def test_fill_bytes_and_markers_without_a_length_are_skipped(filling: bytes) -> None:
    """Any marker may have fill bytes before it (ITU T.81, B.1.1.2): such a picture is as good as another."""
    assert (decode_jpeg(GOOD[:2] + filling + GOOD[2:]) == decode_jpeg(GOOD)).all()


@pytest.mark.parametrize("filling", HIDING)
def test_the_size_is_read_where_the_decoder_reads_it(filling: bytes) -> None:
    """A frame header inside a comment is none, wherever fill bytes would have a careless reader land."""
    with pytest.raises(BadRecordError, match="16000 x 16000"):
        decode_jpeg(GOOD[:2] + filling + with_size(GOOD, 16_000, 16_000)[2:])


def test_a_picture_has_the_size_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else a decoder may be made to see, what it gives is held against the header."""
    monkeypatch.setattr(jpeg, "_size", lambda value: (16, 16))
    with pytest.raises(BadRecordError, match="64 x 48 pixels that claims 16 x 16"):
        decode_jpeg(GOOD)


@pytest.mark.parametrize("module", ["pipeline.records.jpeg", "engines.preprocess"])
def test_opencv_itself_refuses_what_is_too_large(module: str) -> None:
    """Its own limit is set before it is loaded, whichever module loads it."""
    code = (
        f"import {module}, cv2, numpy, sys; value = numpy.frombuffer(sys.stdin.buffer.read(), numpy.uint8)\n"
        "try: print(cv2.imdecode(value, cv2.IMREAD_COLOR) is None)\n"
        "except cv2.error as error: print('CV_IO_MAX_IMAGE_PIXELS' in str(error))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=with_size(GOOD, 9000, 9000), capture_output=True)
    assert done.stdout.strip() == b"True", done
