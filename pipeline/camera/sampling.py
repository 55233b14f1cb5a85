"""Sampled frames: the few pictures that answer a tick, scaled, with session and capture time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.analysis.ticks import SECOND
from pipeline.camera.capture_time import CaptureTime, CaptureTimes, Stamps
from pipeline.camera.picture import Picture
from pipeline.camera.source import open_source
from pipeline.camera.source_settings import SourceSettings
from pipeline.records.frames import Clock, FrameRecord


@dataclass(frozen=True, slots=True)
class SampledFrame:
    """One sampled frame of one camera."""

    camera: str
    session: int
    sequence: int
    tick: int
    rate: int
    capture_ns: int
    clock: Clock
    image: NDArray[np.uint8] = field(repr=False)
    """uint8[height, width, 3], RGB."""
    scene: tuple[int, int] | None = None
    """(width, height) of the picture before it was squashed to another shape."""

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
            scene=self.scene,
        )


def stamps(picture: Picture, arrival: int | None = None) -> Stamps:
    """The time stamps and the size of a picture; `arrival` replaces its own."""
    instant = picture.arrival if arrival is None else arrival
    return Stamps(picture.pts, picture.reference, instant, picture.width, picture.height)


def sampled(camera: str, rate: int, timed: CaptureTime, tick: int, picture: Picture, short_side: int) -> SampledFrame:
    """Convert and scale a picture that answers a tick."""
    image = picture.rgb(short_side)
    return SampledFrame(camera, timed.session, timed.sequence, tick, rate, timed.capture, timed.clock, image)


def sample_file(file: Path, camera: str, rate: int, zero_ns: int, short_side: int = 256) -> Iterator[SampledFrame]:
    """The sampled frames of a file as a camera would have given them, as fast as the file decodes.

    zero_ns: capture time of its first picture, nanoseconds since 1970. The clock is `arrival`, the session its
    milliseconds. Damaged pictures and pictures without a time stamp are left out. Raises CameraRefused.
    """
    capture_times = CaptureTimes(camera, rate, tolerance=5 * SECOND)
    first: int | None = None
    with open_source(SourceSettings(str(file), short_side=short_side)) as source:
        for picture in source.pictures():
            if picture is None or picture.pts is None or picture.corrupt:
                continue
            first = picture.pts if first is None else first
            timed = capture_times.of(stamps(picture, arrival=zero_ns + picture.pts - first))
            if timed and timed.tick is not None:
                yield sampled(camera, rate, timed, timed.tick, picture, short_side)
