"""A test card as a video file: a moving pattern whose frames carry their numbers, legible after coding and scaling."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

_BITS = 16


def draw(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """uint8[height, width, 3]: a drifting gradient under a row of 16 blocks that show the number in binary."""
    across = (np.arange(width) * 255 // width + number * 3) % 256
    down = np.arange(height) * 255 // height
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = across
    image[..., 1] = down[:, None]
    image[..., 2] = 128
    for bit in range(_BITS):
        left, right = bit * width // _BITS, (bit + 1) * width // _BITS
        image[: height // 4, left:right] = 255 if number >> (_BITS - 1 - bit) & 1 else 0
    return image


def number_of(image: NDArray[np.uint8]) -> int:
    """The number of a test card, whatever its size."""
    height, width = image.shape[:2]
    row = image[height // 8].mean(axis=1)
    return sum(int(row[(2 * bit + 1) * width // (2 * _BITS)] > 127) << (_BITS - 1 - bit) for bit in range(_BITS))


def write_test_card(
    file: Path,
    *,
    seconds: float = 10.0,
    fps: int = 25,
    width: int = 320,
    height: int = 240,
    codec: str = "libx264",
    gop: int | None = None,
    begins: int = 0,
) -> Path:
    """Write a test card and return its path. gop: frames from one key picture to the next, `fps` where None.

    begins: number of frames by which the time stamps are ahead.
    """
    with av.open(str(file), "w") as output:
        options = {"preset": "ultrafast", "tune": "zerolatency"} if codec == "libx264" else {}
        stream = cast(VideoStream, output.add_stream(codec, fps, options=options))
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = gop or fps
        for number in range(round(seconds * fps)):
            picture = av.VideoFrame.from_ndarray(draw(number, width, height), format="rgb24")
            picture.pts, picture.time_base = begins + number, Fraction(1, fps)
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    return file
