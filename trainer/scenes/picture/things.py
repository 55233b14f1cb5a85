"""Things around the people: seats, ladders, plants that sway, cars that pass, objects picked up and thrown."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.scenes.picture.camera import project, to_pixels
from trainer.scenes.picture.figures import SHIFT, Rgb, shaded
from trainer.scenes.stage import Camera, Thing

Picture = NDArray[np.uint8]
Draw = Callable[[Picture, float], None]  # draws the thing at an instant (seconds) into a picture
Size = tuple[int, int]


def _pixels(camera: Camera, points: list[tuple[float, float, float]], size: Size) -> NDArray[np.int32]:
    places, _ = project(camera, np.array(points, np.float64))
    return np.rint(to_pixels(camera, places, size) * (1 << SHIFT)).astype(np.int32)


def _block(
    camera: Camera, size: Size, low: tuple[float, float, float], high: tuple[float, float, float], rgb: Rgb
) -> Draw:
    """A box between two corners: its front and its top."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    front = _pixels(camera, [(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)], size)
    top = _pixels(camera, [(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)], size)

    def draw(picture: Picture, _: float) -> None:
        cv2.fillConvexPoly(picture, front, shaded(rgb, 0.8), cv2.LINE_AA, SHIFT)
        cv2.fillConvexPoly(picture, top, shaded(rgb, 1.1), cv2.LINE_AA, SHIFT)

    return draw


def _seat(thing: Thing, camera: Camera, size: Size) -> Draw:
    x, y = thing.place
    half, high = 0.5 * thing.size[0], thing.size[1]
    return _block(camera, size, (x - half, y - 0.2, 0.0), (x + half, y + 0.2, high), thing.rgb)


def _box(thing: Thing, camera: Camera, size: Size) -> Draw:
    x, y = thing.place
    half = 0.5 * thing.size[0]
    return _block(camera, size, (x - half, y - half, 0.0), (x + half, y + half, thing.size[1]), thing.rgb)


def _ladder(thing: Thing, camera: Camera, size: Size) -> Draw:
    """Two rails and rungs; `phase` is the heading of whoever climbs it."""
    across = np.array([-np.sin(thing.phase), np.cos(thing.phase)]) * 0.5 * thing.size[0]
    foot, high = np.array(thing.place), thing.size[1]
    left, right = foot - across, foot + across
    lines = [[(*left, 0.0), (*left, high)], [(*right, 0.0), (*right, high)]]
    lines += [[(*left, z), (*right, z)] for z in np.arange(0.25, high, 0.3)]
    drawn = [_pixels(camera, line, size) for line in lines]
    thick = max(1, round(size[1] / 110))

    def draw(picture: Picture, _: float) -> None:
        cv2.polylines(picture, drawn, False, thing.rgb, thick, cv2.LINE_AA, SHIFT)

    return draw


def _plant(thing: Thing, camera: Camera, size: Size) -> Draw:
    """A bush of leaves that sways `speed` times a second."""
    rng = np.random.default_rng(int(1000 * thing.phase) + 17)
    count = 9
    offsets = np.stack(
        [rng.uniform(-0.5, 0.5, count) * thing.size[0], rng.uniform(0.15, 1.0, count) * thing.size[1]], 1
    )
    shades = rng.uniform(0.7, 1.25, count)
    places, scale = project(camera, np.array([(*thing.place, 0.0)]))
    middle = to_pixels(camera, places, size)[0]
    unit = np.array([scale[0] * size[0] / camera.aspect, scale[0] * size[1]])
    radius = 0.33 * thing.size[0] * unit

    def draw(picture: Picture, at: float) -> None:
        for number in range(count):
            sway = 0.07 * np.sin(2 * np.pi * thing.speed * at + thing.phase + number) * offsets[number, 1]
            x = (middle[0] + (offsets[number, 0] + sway) * unit[0]) * (1 << SHIFT)
            y = (middle[1] - offsets[number, 1] * unit[1]) * (1 << SHIFT)
            axes = (int(radius[0] * (1 << SHIFT)), int(0.8 * radius[1] * (1 << SHIFT)))
            rgb = shaded(thing.rgb, shades[number])
            cv2.ellipse(picture, (int(x), int(y)), axes, 25.0 * number, 0, 360, rgb, -1, cv2.LINE_AA, SHIFT)

    return draw


def car_way(thing: Thing, at: float) -> float:
    """Where a passing car's middle is (metres from the scene's middle) at an instant."""
    return float((at - thing.start) * thing.speed - np.sign(thing.speed) * 9.0)


def _car(thing: Thing, camera: Camera, size: Size) -> Draw:
    long, high = thing.size
    nose = np.sign(thing.speed)
    body = [(-0.5 * long, 0.28), (0.5 * long, 0.28), (0.5 * long, 0.72), (0.3 * long, 0.82), (-0.48 * long, 0.84)]
    cabin = [(-0.38 * long, 0.8), (0.22 * long, 0.8), (0.08 * long, high), (-0.3 * long, high)]

    def draw(picture: Picture, at: float) -> None:
        x, y = car_way(thing, at), thing.place[1]
        if abs(x) > 9.0:
            return
        for outline, rgb in ((body, thing.rgb), (cabin, (70, 84, 96))):
            polygon = _pixels(camera, [(x + nose * dx, y, dz) for dx, dz in outline], size)
            cv2.fillConvexPoly(picture, polygon, rgb, cv2.LINE_AA, SHIFT)
        for wheel in (-0.3, 0.3):
            ring = [
                (x + wheel * long + 0.3 * np.cos(a), y - 0.02, 0.3 + 0.3 * np.sin(a)) for a in np.arange(0, 6.2, 0.8)
            ]
            cv2.fillConvexPoly(picture, _pixels(camera, ring, size), (24, 24, 26), cv2.LINE_AA, SHIFT)

    return draw


def _screen(thing: Thing, camera: Camera, size: Size) -> Draw:
    x, y = thing.place
    half = 0.5 * thing.size[0]
    low, high = 1.3, 1.3 + thing.size[1]
    polygon = _pixels(camera, [(x - half, y, low), (x + half, y, low), (x + half, y, high), (x - half, y, high)], size)

    def draw(picture: Picture, at: float) -> None:
        cut = np.sin(np.floor(at * 0.8 + thing.phase) * 12.9898) * 43758.5453
        shade = 0.6 + 0.7 * (cut - np.floor(cut)) + 0.1 * np.sin(9 * at)
        cv2.fillConvexPoly(picture, polygon, shaded(thing.rgb, float(shade)), cv2.LINE_AA, SHIFT)

    return draw


_KINDS: dict[str, Callable[[Thing, Camera, Size], Draw]] = {
    "seat": _seat, "box": _box, "ladder": _ladder, "plant": _plant, "car": _car, "screen": _screen,
}  # fmt: skip


def drawing(thing: Thing, camera: Camera, size: Size) -> Draw:
    """How a thing is drawn in a picture of (width, height)."""
    return _KINDS[thing.kind](thing, camera, size)


def draw_object(picture: Picture, camera: Camera, size: Size, at: NDArray[np.float64], radius: float, rgb: Rgb) -> None:
    """A thing of a hand's size at a point [3] in metres."""
    places, scale = project(camera, at[None])
    x, y = np.rint(to_pixels(camera, places, size)[0] * (1 << SHIFT)).astype(int)
    axes = (
        int(radius * scale[0] * size[0] / camera.aspect * (1 << SHIFT)),
        int(radius * scale[0] * size[1] * (1 << SHIFT)),
    )
    if min(axes) > 8 and abs(x) < 1 << 20 and abs(y) < 1 << 20:
        cv2.ellipse(picture, (int(x), int(y)), axes, 0, 0, 360, rgb, -1, cv2.LINE_AA, SHIFT)
