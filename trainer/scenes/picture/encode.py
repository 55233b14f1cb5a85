"""Damage to training frames that looks like what serving sees."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]


def _change(frame: Frames, before: Frames) -> Frames:
    """How much a pixel's surroundings changed, uint8 [H, W]."""
    red, green, blue = cv2.split(cv2.blur(cv2.absdiff(frame, before), (7, 7)))
    # numpy's max over so short an axis takes eighteen times as long.
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.uint8)


def _predicted(frames: Frames, patience: float, refresh: int) -> Frames:
    """Frames as an inter-frame coder leaves them: what hardly changes is taken from the frame before.

    Noise stands still between the refreshes that come every `refresh` frames; a change of `patience` times the noise
    is taken over.
    """
    out = frames.copy()
    threshold = 1.5 + patience * float(np.median(_change(frames[0], frames[1]))) if len(frames) > 1 else 0.0
    for number in range(1, len(out)):
        if number % refresh == 0:
            continue
        change = _change(frames[number], out[number - 1])
        held = out[number - 1].copy()
        cv2.copyTo(frames[number], (change > threshold).astype(np.uint8), held)
        out[number] = held
    return out


def compress(frames: Frames, rng: np.random.Generator) -> Frames:
    """Frames [n, H, W, 3] as a low-bitrate camera and the JPEG after it would deliver them, losses drawn once per call.

    In three calls of four still parts repeat the frame before; in every other one the size changes down and up again;
    then JPEG of quality 30-90.
    """
    height, width = frames.shape[1:3]
    scale = float(rng.uniform(0.6, 1.0)) if rng.random() < 0.5 else 1.0
    small = (max(16, round(width * scale)), max(16, round(height * scale)))
    quality = int(rng.integers(30, 91))
    if rng.random() < 0.75:
        frames = _predicted(frames, float(rng.uniform(1.2, 2.0)), int(rng.integers(2, 9)))
    out = np.empty_like(frames)
    for number, frame in enumerate(frames):
        picture = frame if scale == 1.0 else cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
        _, coded = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, quality))
        decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
        out[number] = decoded if scale == 1.0 else cv2.resize(decoded, (width, height), interpolation=cv2.INTER_LINEAR)
    return out
