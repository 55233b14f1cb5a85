"""Video files, decoded at a fixed sampling rate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from trainer.errors import RecipeError

Pictures = npt.NDArray[np.uint8]


def read_clip(path: Path, rate: int, phase: float = 0.0) -> Iterator[tuple[float, Pictures]]:
    """Decode a video and yield (seconds, RGB picture) of the first frame at or after each tick (k + phase) / rate.

    Frames before the first tick are skipped. Times count from the first frame. Raises RecipeError for what is no video.
    """
    try:
        yield from _sampled(path, rate, phase)
    except (av.error.FFmpegError, IndexError) as error:
        raise RecipeError(f"{path} cannot be decoded as a video: {error}") from error


def _sampled(path: Path, rate: int, phase: float) -> Iterator[tuple[float, Pictures]]:
    due = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        origin: float | None = None
        for frame in container.decode(stream):
            if frame.time is None:
                continue
            origin = frame.time if origin is None else origin
            seconds = frame.time - origin
            if seconds + 1e-6 >= (due + phase) / rate:
                yield seconds, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                due = int(np.floor(seconds * rate - phase + 1e-6)) + 1
