"""How a decoded picture is meant to be seen: the turn of its display matrix, and the shape of its pixels.

Phones store a picture as the sensor gave it and say in the file how it is turned; recorders store pictures of half the
width and say that a pixel is twice as wide. Whoever looks at the stored picture sees every walk as a fall, or people
half as wide. Training and serving ask here, so that both see the same.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

_WIDEST = 8.0  # a ratio beyond that, either way, is a damaged header


@dataclass(frozen=True, slots=True)
class Display:
    """What to do with a stored picture: stretch it (`size`), then transpose and mirror it (`upright`)."""

    transposed: bool = False
    mirrored: bool = False
    """Left and right change places, after the transposition."""
    upside_down: bool = False
    """Top and bottom change places, after the transposition."""
    pixel_ratio: float = 1.0
    """Width of a stored pixel over its height."""

    def size(self, width: int, height: int) -> tuple[int, int]:
        """The size of a stored picture with square pixels, still before it is turned: (width, height).

        The picture grows along one side, so that no detail is lost.
        """
        if self.pixel_ratio >= 1:
            return max(1, round(width * self.pixel_ratio)), height
        return width, max(1, round(height / self.pixel_ratio))

    def upright(self, image: Image) -> Image:
        """The picture as it is meant to be seen. uint8 [h, w, 3] -> uint8 [h, w, 3] or [w, h, 3], contiguous."""
        if self.transposed:
            image = image.transpose(1, 0, 2)
        across, down = -1 if self.mirrored else 1, -1 if self.upside_down else 1
        return np.ascontiguousarray(image[::down, ::across])


def display_of(matrix: bytes | None, pixel_ratio: float | None) -> Display:
    """What a display matrix and a sample aspect ratio say.

    matrix: nine int32 in the order of the machine, as FFmpeg gives them (libavutil/display.h): a, b, u, c, d, v, x, y,
    w, where a point (p, q) is shown at (a p + c q, b p + d q). The nearest of the eight turned and mirrored squares is
    taken. What is absent or makes no sense changes nothing.
    """
    ratio = pixel_ratio if pixel_ratio and 1 / _WIDEST <= pixel_ratio <= _WIDEST else 1.0
    if matrix is None or len(matrix) < 36:
        return Display(pixel_ratio=ratio)
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Display(True, c < 0, b < 0, ratio)
    return Display(False, a < 0, d < 0, ratio)
