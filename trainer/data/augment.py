"""Random changes of a stretch of pictures. One draw holds for the whole stretch, because one camera filmed it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from trainer.recipe import Augment

Pictures = npt.NDArray[np.uint8]


def single_threaded() -> None:
    """Keep OpenCV to the calling thread: several threads, each with pictures of its own, are faster."""
    cv2.setNumThreads(1)


def augment(pictures: Pictures, rules: Augment, rng: np.random.Generator) -> Pictures:
    """A changed copy: flip, shift, zoom, fade, gain, noise, held frames, compression. uint8 [n, H, W, 3], RGB."""
    matrix = _affine(pictures.shape[2], pictures.shape[1], rules, rng)
    colours = _colours(cv2.mean(pictures[0])[:3], rules, rng)
    noise = _noise(pictures.shape, rules, rng)
    quality = int(rng.integers(35, 85)) if rng.random() < rules.jpeg else None
    held = _held(len(pictures), rules, rng)
    changed = np.empty_like(pictures)
    for index, source in enumerate(held):
        if index and held[index - 1] == source:
            changed[index] = changed[index - 1]
            continue
        changed[index] = _change(pictures[source], matrix, colours, noise, quality, rng)
    return changed


def _affine(width: int, height: int, rules: Augment, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    flip = -1.0 if rng.random() < rules.flip else 1.0
    zoom = 1.0 + rules.zoom * rng.uniform(-1, 1)
    stretch = 1.0 + 0.5 * rules.zoom * rng.uniform(-1, 1)
    across, down = zoom * stretch * flip, zoom / stretch
    x, y = (rules.shift * rng.uniform(-1, 1, 2)) * (width, height)
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    return np.array([[across, 0, centre_x - across * centre_x + x], [0, down, centre_y - down * centre_y + y]])


def _colours(pivot: Sequence[float], rules: Augment, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Fade, gain and offset as one affine map of colours, [3, 4]."""
    # Lightness and colour fade apart: clothes that differ from the wall behind them in one alone become hard to see.
    lightness, colour = 1.0 - rules.fade * rng.random(2)
    faded = colour * np.eye(3) + (lightness - colour) / 3.0
    gains = (1.0 + rules.gain * rng.uniform(-1, 1)) * (1.0 + 0.15 * rules.gain * rng.uniform(-1, 1, 3))
    offset = rules.offset * rng.uniform(-1, 1)
    shift = gains * (pivot - faded @ pivot) + offset
    return np.column_stack([gains[:, None] * faded, shift])


def _noise(shape: tuple[int, ...], rules: Augment, rng: np.random.Generator) -> npt.NDArray[np.int16] | None:
    strength = rules.noise * rng.random()
    if strength < 0.5:
        return None
    # Twice the sides: every frame takes its own piece, which is cheaper than fresh noise and as unpredictable.
    sides = 2 if shape[0] > 1 else 1
    size = (sides * shape[1], sides * shape[2], shape[3])
    return np.asarray(np.rint(strength * rng.standard_normal(size, np.float32)), np.int16)


def _held(length: int, rules: Augment, rng: np.random.Generator) -> list[int]:
    """The source frame that each frame shows; now and then the one before is repeated."""
    held = list(range(length))
    if length > 1 and rng.random() < rules.stutter:
        for index in np.flatnonzero(rng.random(length) < 0.12):
            if index:
                held[index] = held[index - 1]
    return held


def _change(
    picture: Pictures,
    matrix: npt.NDArray[np.float64],
    colours: npt.NDArray[np.float64],
    noise: npt.NDArray[np.int16] | None,
    quality: int | None,
    rng: np.random.Generator,
) -> Pictures:
    height, width = picture.shape[:2]
    changed = cv2.warpAffine(
        picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    changed = cv2.transform(changed, colours)
    if noise is not None:
        y, x = (int(rng.integers(1 + there - here)) for there, here in zip(noise.shape, (height, width), strict=False))
        changed = cv2.add(changed, noise[y : y + height, x : x + width], dtype=cv2.CV_8U)
    if quality is not None:
        packed = cv2.imencode(".jpg", changed, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
        return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(changed, np.uint8)
