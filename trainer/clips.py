"""Which frames make a clip: the papers' segment sampling, windows of a stretch, and decoding of labelled clips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from trainer.errors import RecipeError

Pictures = npt.NDArray[np.uint8]


def segment_indices(length: int, frames: int, rng: np.random.Generator | None = None) -> npt.NDArray[np.int64]:
    """One frame of each of `frames` equal segments of a clip of `length` frames (ActionCLIP release); 0-based, sorted.

    With a generator the training rule: a uniform index per segment, or all indices and uniform repeats where the clip
    is shorter. Without one the test rule: the middle of each segment.
    """
    if length < 1 or frames < 1:
        raise ValueError(f"cannot sample {frames} frames from a clip of {length}")
    order = np.arange(frames)
    if rng is None:
        if length <= frames:
            return order * length // frames if frames > 1 else np.array([length // 2])
        if frames == 1:
            return np.array([length // 2])
        return np.floor(order * length / frames + (length / frames - 1) / 2).astype(np.int64)
    if length <= frames:
        return np.sort(np.concatenate((np.arange(length), rng.integers(length, size=frames - length))))
    first, last = order * length // frames, (order + 1) * length // frames
    return rng.integers(first, last)


def window_start(length: int, frames: int, rng: np.random.Generator | None = None) -> int:
    """Where a window of `frames` consecutive frames starts in a clip of `length`: anywhere; without `rng` centred."""
    if length < frames:
        raise ValueError(f"a clip of {length} frames holds no window of {frames}")
    return (length - frames) // 2 if rng is None else int(rng.integers(length - frames + 1))


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
                yield seconds, frame.to_ndarray(format="rgb24")
                due = int(np.floor(seconds * rate - phase + 1e-6)) + 1
