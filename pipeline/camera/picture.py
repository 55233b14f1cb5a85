"""A decoded picture of a camera: when it was taken, and its pixels in the shape of the scene."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from engines.display import STORED, Turn, shown


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture, not yet converted."""

    pts: int | None
    """Nanoseconds on the stream's own time line; None where it is unknown."""
    reference: int | None
    """Capture time in nanoseconds since 1970 by the camera's clock."""
    arrival: int
    """When the packet arrived, by the clock that `open_source` was given."""
    width: int
    """As it is shown, like the height: turned upright, with square pixels."""
    height: int
    key: bool
    corrupt: bool
    """Damaged in transit, or decoded from a damaged picture."""
    frame: VideoFrame = field(repr=False)
    turn: Turn = STORED
    converter: VideoReformatter = field(default_factory=VideoReformatter, repr=False)
    """That of the source."""

    def rgb(self, short_side: int) -> NDArray[np.uint8]:
        """The picture as uint8[height, width, 3], upright, scaled down until its shorter side has `short_side`."""
        width, height = scaled(self.width, self.height, short_side)
        return shown(self.frame, self.turn, width, height, self.converter)


def scaled(width: int, height: int, short_side: int) -> tuple[int, int]:
    """(width, height) with the shorter side scaled down to `short_side`; a smaller picture keeps its size."""
    shorter = min(width, height)
    if shorter <= short_side:
        return width, height
    return max(1, round(width * short_side / shorter)), max(1, round(height * short_side / shorter))
