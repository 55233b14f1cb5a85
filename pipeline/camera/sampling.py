"""Sampled pictures: the few that answer a tick, scaled, with session and capture time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.analysis.ticks import SECOND
from pipeline.camera.capture_time import Placed, Placing, Seen
from pipeline.camera.source import Picture, SourceSettings, open_source
from pipeline.records.frames import Clock, FrameRecord


@dataclass(frozen=True, slots=True)
class SampledFrame:
    """One sampled picture of one camera."""

    camera: str
    session: int
    sequence: int
    tick: int
    rate: int
    capture_ns: int
    clock: Clock
    image: NDArray[np.uint8] = field(repr=False)
    """uint8[height, width, 3], RGB."""

    def record(self, jpeg: bytes) -> FrameRecord:
        """The frame as it is published, with its picture compressed to `jpeg`."""
        height, width = self.image.shape[:2]
        return FrameRecord(
            camera=self.camera,
            session=self.session,
            sequence=self.sequence,
            tick=self.tick,
            rate=self.rate,
            capture_ns=self.capture_ns,
            clock=self.clock,
            width=width,
            height=height,
            jpeg=jpeg,
        )


def seen(picture: Picture, arrival: int | None = None) -> Seen:
    """What placing needs to know of a picture; `arrival` replaces the picture's own."""
    instant = picture.arrival if arrival is None else arrival
    return Seen(picture.pts, picture.reference, instant, picture.width, picture.height)


def sampled(camera: str, rate: int, placed: Placed, tick: int, picture: Picture, short_side: int) -> SampledFrame:
    """Convert and scale a picture that answers a tick."""
    image = picture.rgb(short_side)
    return SampledFrame(camera, placed.session, placed.sequence, tick, rate, placed.capture, placed.clock, image)


def sample_file(file: Path, camera: str, rate: int, zero_ns: int, short_side: int = 256) -> Iterator[SampledFrame]:
    """The sampled pictures of a file as a camera would have given them, as fast as the file decodes.

    zero_ns: capture time of its first picture, nanoseconds since 1970. The clock is `arrival`, the session its
    milliseconds. Pictures without a time stamp and damaged ones are left out. Raises CameraRefused.
    """
    placing = Placing(camera, rate, tolerance=5 * SECOND)
    first: int | None = None
    with open_source(SourceSettings(str(file), short_side=short_side)) as source:
        for picture in source.pictures():
            if picture is None or picture.pts is None or picture.corrupt:
                continue
            first = picture.pts if first is None else first
            placed = placing.place(seen(picture, arrival=zero_ns + picture.pts - first))
            if placed and placed.tick is not None:
                yield sampled(camera, rate, placed, placed.tick, picture, short_side)
