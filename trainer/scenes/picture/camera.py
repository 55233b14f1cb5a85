"""Projection of metres into the picture of a fixed camera. World: x to the right, y away from the camera, z up."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from trainer.scenes.stage import Camera

Array = NDArray[np.float64]


def project(camera: Camera, points: Array) -> tuple[Array, Array]:
    """Points [..., 3] in metres to the picture.

    Returns places [..., 2], where (0, 0) is the picture's middle, y points down and both are in picture heights, and
    sizes [...]: picture heights per metre at the point (0 behind the camera).
    """
    cos, sin = math.cos(camera.elevation), math.sin(camera.elevation)
    x = points[..., 0] - camera.aim[0]
    y = points[..., 1] - camera.aim[1] + camera.distance * cos
    z = points[..., 2] - camera.aim[2] - camera.distance * sin
    depth = np.maximum(y * cos - z * sin, 0.2)
    size = camera.focal / depth
    right, up = x * size, (y * sin + z * cos) * size
    if camera.roll:
        turn, lean = math.cos(camera.roll), math.sin(camera.roll)
        right, up = right * turn - up * lean, right * lean + up * turn
    return np.stack([right, -up], axis=-1), size


def to_pixels(camera: Camera, places: Array, size: tuple[int, int]) -> Array:
    """Places in picture heights to pixels of a picture of (width, height); another aspect stretches the picture."""
    width, height = size
    return np.asarray(places * np.array([width / camera.aspect, height]) + np.array([0.5 * width, 0.5 * height]))


def inside(camera: Camera, points: Array) -> NDArray[np.bool_]:
    """Whether points [..., 3] fall into the picture."""
    places, _ = project(camera, points)
    return (np.abs(places[..., 0]) < 0.5 * camera.aspect) & (np.abs(places[..., 1]) < 0.5)
