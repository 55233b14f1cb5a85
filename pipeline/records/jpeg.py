"""Pictures as they travel: JPEG in records, RGB arrays everywhere else."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadRecordError

# Pictures are handled side by side, by a pool of threads in a worker and by a thread per camera in ingest. OpenCV would
# start as many threads again for each of them, and take the CPUs from inference. One setting holds for the process:
# whoever resizes frames decodes or encodes them here first.
cv2.setNumThreads(1)

MAX_PIXELS = 64_000_000
"""A JPEG that claims more is refused before it is unpacked: a small file can claim gigabytes."""

_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def encode_jpeg(image: NDArray[np.uint8], quality: int = 85) -> bytes:
    """JPEG (4:2:0) of an RGB picture uint8[height, width, 3]. Equal pictures give equal bytes."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def decode_jpeg(value: bytes | None) -> NDArray[np.uint8]:
    """RGB picture uint8[height, width, 3] of a JPEG.

    Raises BadRecordError("jpeg"): empty, not a JPEG, cut short before its first line, or absurdly large.
    """
    if not value:
        raise BadRecordError("jpeg", "a frame without a picture")
    size = _size(value)
    if size is None:
        raise BadRecordError("jpeg", f"a frame that is not a JPEG: it begins with {value[:8].hex(' ')}")
    if size[0] * size[1] > MAX_PIXELS:
        raise BadRecordError("jpeg", f"a frame that claims {size[0]} x {size[1]} pixels, more than {MAX_PIXELS}")
    # Orientation marks are ignored: a record's pixels mean the same to everybody.
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(value, np.uint8), flags)
    except cv2.error as error:
        raise BadRecordError("jpeg", f"a frame that OpenCV cannot decode: {error.err}") from error
    if image is None:
        raise BadRecordError("jpeg", f"a frame of {len(value)} bytes that is damaged or cut short")
    return image.astype(np.uint8, copy=False)


def _size(value: bytes) -> tuple[int, int] | None:
    """(width, height) from a JPEG's frame header, or None where there is none (ITU T.81 annex B)."""
    if value[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(value) and value[at] == 0xFF:
        if value[at + 1] in _FRAME_HEADERS:
            return int.from_bytes(value[at + 7 : at + 9], "big"), int.from_bytes(value[at + 5 : at + 7], "big")
        at += 2 + int.from_bytes(value[at + 2 : at + 4], "big")
    return None
