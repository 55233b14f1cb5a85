"""Resize a frame to the network's size, with one filter that the manifest names, in training and serving alike."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from engines.bundle.manifest import Input

Image = npt.NDArray[np.uint8]

_FILTERS = {"area": cv2.INTER_AREA, "bicubic": cv2.INTER_CUBIC, "bilinear": cv2.INTER_LINEAR}


def prepare(image: Image, form: Input) -> Image:
    """Return the frame at the network's size.

    image: RGB uint8 [h, w, 3], any size. Returns RGB uint8 [form.height, form.width, 3], contiguous; the same array
    when nothing has to change. `squash` ignores the aspect ratio; `centre` crops the largest central part with the
    network's ratio. A frame of at least twice the size is first averaged over whole pixels (`area`), for `bicubic` and
    `bilinear` too: when they shrink, cv2's own versions skip pixels, and a moving edge would flicker.
    Raises ValueError for another shape or dtype.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"a frame must be RGB uint8 [h, w, 3] and not empty, got {image.dtype} {list(image.shape)}")
    if form.crop == "centre":
        image = _centre(image, form.height / form.width)
    if image.shape[:2] != (form.height, form.width):
        image = _resize(image, form)
    return np.ascontiguousarray(image)


def _centre(image: Image, ratio: float) -> Image:
    height, width = image.shape[:2]
    kept_height = min(height, max(1, round(width * ratio)))
    kept_width = min(width, max(1, round(height / ratio)))
    top, left = (height - kept_height) // 2, (width - kept_width) // 2
    return image[top : top + kept_height, left : left + kept_width]


def _resize(image: Image, form: Input) -> Image:
    height, width = image.shape[:2]
    if form.resize != "area":
        coarse = (width // max(1, width // form.width), height // max(1, height // form.height))
        if coarse != (width, height):
            image = np.asarray(cv2.resize(image, coarse, interpolation=cv2.INTER_AREA), np.uint8)
    size = (form.width, form.height)
    return np.asarray(cv2.resize(image, size, interpolation=_FILTERS[form.resize]), np.uint8)
