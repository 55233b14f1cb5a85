"""Frames to calibrate with: pictures of a folder, or of recordings, spread evenly over all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from engines.bundle.manifest import Input
from engines.contract import Images
from engines.errors import CalibrationError
from engines.preprocess import Image, prepare

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
RECORDINGS = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".ts")


def calibration_frames(source: Path, form: Input, count: int) -> Images:
    """Return `count` frames at the network's size, uint8 RGB [count, H, W, 3].

    source: a recording, or a folder of pictures and recordings, searched with all below it.
    Raises CalibrationError when there is nothing to read, or when it holds fewer frames than asked for.
    """
    files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    pictures = [path for path in files if path.suffix.lower() in PICTURES]
    recordings = [path for path in files if path.suffix.lower() in RECORDINGS]
    if not pictures and not recordings:
        known = " ".join((*PICTURES, *RECORDINGS))
        raise CalibrationError(f"{source} holds no picture and no recording ({known}); name a folder that does")
    available = len(pictures) + sum(_length(path) for path in recordings)
    step = max(1, available // count)
    kept: list[Image] = []
    for index, frame in enumerate(_all(pictures, recordings)):
        if index % step == 0:
            kept.append(prepare(frame, form))
        if len(kept) == count:
            return np.stack(kept)
    raise CalibrationError(f"{source} holds {len(kept)} frames that can be read, {count} are needed; add some")


def _all(pictures: list[Path], recordings: list[Path]) -> Iterator[Image]:
    for path in pictures:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
        if image is None:
            raise CalibrationError(f"{path} is no picture that can be read; remove it")
        yield _rgb(image)
    for path in recordings:
        reader = cv2.VideoCapture(str(path))
        try:
            while True:
                read, image = reader.read()
                if not read:
                    break
                yield _rgb(image)
        finally:
            reader.release()


def _length(path: Path) -> int:
    reader = cv2.VideoCapture(str(path))
    try:
        return max(0, int(reader.get(cv2.CAP_PROP_FRAME_COUNT)))
    finally:
        reader.release()


def _rgb(image: object) -> Image:
    return np.asarray(cv2.cvtColor(np.asarray(image, np.uint8), cv2.COLOR_BGR2RGB), np.uint8)
