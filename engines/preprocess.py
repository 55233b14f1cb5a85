"""Resize a frame to the network's size, with one filter that the manifest names, in training and serving alike."""

from __future__ import annotations

from typing import Literal, Protocol

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


class Form(Protocol):
    """The pictures that a network takes, as its manifest says (`engines.bundle.manifest.Input`)."""

    @property
    def height(self) -> int:
        """In pixels."""
        ...

    @property
    def width(self) -> int:
        """In pixels."""
        ...

    @property
    def resize(self) -> Literal["area", "bicubic", "bilinear"]:
        """The filter."""
        ...

    @property
    def crop(self) -> Literal["squash", "centre"]:
        """What happens to a picture of another shape."""
        ...


_FILTERS = {"area": cv2.INTER_AREA, "bicubic": cv2.INTER_CUBIC, "bilinear": cv2.INTER_LINEAR}


def prepare(image: Image, form: Form, pixel: float = 1.0) -> Image:
    """Return the frame at the network's size.

    image: RGB uint8 [h, w, 3], any size. pixel: width of one of its pixels by its height, where it was squashed before
    (`fitted`); the crop is that of the scene.
    Returns RGB uint8 [form.height, form.width, 3], contiguous; the same array when nothing has to change. `squash`
    ignores the aspect ratio; `centre` crops the largest central part with the network's ratio. A frame of at least
    twice the size is first averaged over whole pixels (`area`), for `bicubic` and `bilinear` too: when they shrink,
    cv2's own versions skip pixels, and a moving edge would flicker.
    Raises ValueError for another shape or dtype.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"a frame must be RGB uint8 [h, w, 3] and not empty, got {image.dtype} {list(image.shape)}")
    if form.crop == "centre":
        image = _centre(image, form.height / form.width * pixel)
    if image.shape[:2] != (form.height, form.width):
        image = _resize(image, form)
    return np.ascontiguousarray(image)


def fitted(image: Image, form: Form) -> Image:
    """The frame at the network's size, as `prepare` makes it, or as it is where that would enlarge it.

    What was fitted passes through `prepare` unchanged, so that it may be done wherever frames come from. RGB uint8
    [h, w, 3] both.
    """
    kept = _centre(image, form.height / form.width) if form.crop == "centre" else image
    return image if kept.shape[0] < form.height or kept.shape[1] < form.width else prepare(image, form)


def covering(image: Image, width: int, height: int) -> Image:
    """The frame scaled down, its shape kept, to the smallest one that covers `width` x `height`; never enlarged.

    RGB uint8 [h, w, 3] both; area filter.
    """
    rows, columns = image.shape[:2]
    scale = max(width / columns, height / rows)
    if scale >= 1:
        return image
    size = (max(width, round(columns * scale)), max(height, round(rows * scale)))
    return np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _centre(image: Image, ratio: float) -> Image:
    height, width = image.shape[:2]
    kept_height = min(height, max(1, round(width * ratio)))
    kept_width = min(width, max(1, round(height / ratio)))
    top, left = (height - kept_height) // 2, (width - kept_width) // 2
    return image[top : top + kept_height, left : left + kept_width]


def _resize(image: Image, form: Form) -> Image:
    height, width = image.shape[:2]
    if form.resize != "area":
        coarse = (width // max(1, width // form.width), height // max(1, height // form.height))
        if coarse != (width, height):
            image = np.asarray(cv2.resize(image, coarse, interpolation=cv2.INTER_AREA), np.uint8)
    size = (form.width, form.height)
    return np.asarray(cv2.resize(image, size, interpolation=_FILTERS[form.resize]), np.uint8)
