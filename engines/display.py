"""How a decoded picture is meant to be seen: upright, and with square pixels.

Phones store pictures as their sensor lies and add a display matrix that turns or mirrors them (ISO/IEC 14496-12,
`tkhd`). Recorders store pixels that are not square and add their sample aspect ratio (ITU-T H.264, annex E). Whoever
looks at the stored picture sees every walk as a fall, or people half as wide. Training and serving ask here, so that
both see the same.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

_PLANAR = frozenset({"yuv420p", "yuvj420p"})
"""Formats whose planes can be turned one by one: a byte per sample, colours as coarse in one direction as the other."""
_WIDEST = 16
"""Sample aspect ratios beyond this are mistakes of an encoder."""


@dataclass(frozen=True, slots=True)
class Turn:
    """How a stored picture is turned to be shown: transposed first, then mirrored."""

    transposed: bool = False
    left_right: bool = False
    up_down: bool = False

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn uint8[height, width], or uint8[height, width, 3]."""
        if self.transposed:
            image = image.swapaxes(0, 1)
        if self.left_right:
            image = image[:, ::-1]
        if self.up_down:
            image = image[::-1]
        return np.ascontiguousarray(image)


STORED = Turn()
"""Shown as it is stored."""


def turn_of(frame: VideoFrame) -> Turn:
    """How a frame is turned to be shown, by its display matrix.

    `frame.side_data` is not asked: it refers to the frame and the frame to it, so that every picture, with its pixels,
    would stay until the garbage collector comes by.
    """
    found = cast(Any, SideDataContainer)(frame).get(Type.DISPLAYMATRIX)
    return STORED if found is None else turn_by(struct.unpack_from("<4i", bytes(found)[:8] + bytes(found)[12:20]))


def turn_by(matrix: tuple[int, ...]) -> Turn:
    """The quarter turn, mirrored or not, that is nearest to the display matrix (a, b, c, d).

    It sends a stored point (x, y) to (a x + c y, b x + d y).
    """
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Turn(True, left_right=c < 0, up_down=b < 0)
    return Turn(False, left_right=a < 0, up_down=d < 0)


def shown_size(width: int, height: int, ratio: Fraction | None, turn: Turn) -> tuple[int, int]:
    """(width, height) of the scene for a stored picture. ratio: width of a pixel by its height.

    The narrower side of a pixel is stretched, so that nothing is lost before the picture is scaled down.
    """
    if ratio and 1 / _WIDEST <= ratio <= _WIDEST:
        width, height = (round(width * ratio), height) if ratio > 1 else (width, round(height / ratio))
    return (height, width) if turn.transposed else (width, height)


def shown(frame: VideoFrame, turn: Turn, width: int, height: int, converter: VideoReformatter) -> NDArray[np.uint8]:
    """A frame as it is meant to be seen: uint8[height, width, 3] RGB, scaled in the same step (area filter).

    converter: that of the source, since what FFmpeg prepares for a conversion serves the next picture of its size.
    The picture is turned first: FFmpeg's filter treats rows and columns differently, and a clip must look the same to a
    model whether it was stored upright or not.
    """
    upright = frame if turn == STORED else _turned(frame, turn)
    converted = converter.reformat(
        upright, width, height, "rgb24", interpolation=Interpolation.AREA, threads=1
    )  # by default each conversion starts a thread per CPU, which lives as long as the converter
    return converted.to_ndarray().astype(np.uint8, copy=False)


def _turned(frame: VideoFrame, turn: Turn) -> VideoFrame:
    """A frame turned as it is to be shown, its planes one by one: no pixel changes but its place."""
    if frame.format.name not in _PLANAR:
        frame = frame.reformat(format="yuv420p", threads=1)
    width, height = (frame.height, frame.width) if turn.transposed else (frame.width, frame.height)
    made = _like(frame, width, height)
    for stored, plane in zip(frame.planes, made.planes, strict=True):
        _pixels(plane)[:] = turn.apply(_pixels(stored))
    return made


def _like(frame: VideoFrame, width: int, height: int) -> VideoFrame:
    """A frame of this size, any picture in it, with the properties of another, such as where its colours lie.

    PyAV copies them where it converts, and converts where something changes.
    """
    if (width, height) == (frame.width, frame.height):
        frame = frame.reformat(width, height + 2, interpolation=Interpolation.POINT, threads=1)
    return frame.reformat(width, height, interpolation=Interpolation.POINT, threads=1)


def _pixels(plane: VideoPlane) -> NDArray[np.uint8]:
    """The pixels of a plane, uint8[height, width], where they are."""
    return np.frombuffer(cast(Any, plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
