"""Which frames stand for a clip: segment sampling as in the papers, or a window of consecutive frames."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


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


def window_indices(
    first: int, last: int, lowest: int, highest: int, frames: int, rng: np.random.Generator | None = None
) -> npt.NDArray[np.int64]:
    """`frames` consecutive indices for the clip [first, last), which lies in what may be shown, [lowest, highest).

        recording  |. . . . . . . . . . . . . . . . . . .|       where the clip holds a window: inside the clip
        clip             |- - - - -|                             where only the recording does: the whole clip within
        window       |- - - - - - - - - -|                       where neither does: all of it, the last frame held

    Time is never stretched: serving fills a window in the same way (ARCHITECTURE 3d). Anywhere that fits with `rng`,
    centred without.
    """
    if highest - lowest < frames:
        return np.minimum(lowest + np.arange(frames), highest - 1)
    if last - first >= frames:
        start = first + window_start(last - first, frames, rng)
    else:
        earliest, latest = max(lowest, last - frames), min(first, highest - frames)
        centred = min(max(first - (frames - (last - first)) // 2, earliest), latest)
        start = centred if rng is None else int(rng.integers(earliest, latest + 1))
    return start + np.arange(frames)
