"""Procedural places: a floor and a wall in the camera's perspective, painted once per scene."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.scenes.picture.camera import project, to_pixels
from trainer.scenes.stage import Camera, Light

Picture = NDArray[np.uint8]
Rng = np.random.Generator

WALL = 3.0  # metres behind the middle of the scene
_CELL = 32  # texture pixels per metre
_SPAN = 9.0  # metres of floor and wall to either side

_FLOORS: dict[str, tuple[str, ...]] = {
    "room": ("planks", "carpet"), "office": ("carpet", "tiles"), "corridor": ("tiles", "plain"),
    "shop": ("tiles", "plain"), "hall": ("tiles", "planks"),
    "yard": ("slabs", "gravel"), "street": ("asphalt",), "park": ("grass", "gravel"),
    "car park": ("asphalt",), "courtyard": ("slabs", "tiles"),
}  # fmt: skip
_WALLS: dict[str, tuple[str, ...]] = {
    "room": ("paint",), "office": ("paint", "glass"), "corridor": ("doors", "paint"), "shop": ("shelves",),
    "hall": ("glass", "doors"), "yard": ("brick", "fence"), "street": ("road",), "park": ("hedge",),
    "car park": ("road",), "courtyard": ("brick", "doors"),
}  # fmt: skip
_BASE = {"planks": (142, 108, 76), "carpet": (112, 112, 118), "tiles": (168, 164, 156), "plain": (150, 150, 146),
         "slabs": (150, 146, 138), "gravel": (146, 136, 120), "asphalt": (94, 95, 98),
         "grass": (84, 116, 62)}  # fmt: skip


def _cloud(rng: Rng, shape: tuple[int, int], cells: int, strength: float) -> NDArray[np.float32]:
    """Smooth noise [h, w, 1] with about `cells` cells along the shorter side."""
    low = rng.normal(0, strength, (max(2, cells * shape[0] // min(shape)), max(2, cells * shape[1] // min(shape))))
    smooth = cv2.resize(low.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, np.float32)[..., None]


def _grain(rng: Rng, shape: tuple[int, int], strength: float) -> NDArray[np.float32]:
    return rng.standard_normal((*shape, 1), dtype=np.float32) * strength


def _flat(rng: Rng, shape: tuple[int, int], rgb: tuple[int, int, int], spread: float = 16.0) -> NDArray[np.float32]:
    colour = np.array(rgb, np.float32) * rng.normal(1.0, 0.12) + rng.normal(0, 0.5 * spread, 3)
    return np.broadcast_to(colour.astype(np.float32), (*shape, 3)).copy()


def _floor(rng: Rng, kind: str, shape: tuple[int, int]) -> NDArray[np.float32]:
    floor = _flat(rng, shape, _BASE[kind]) + _cloud(rng, shape, 5, 7.0)
    if kind in ("carpet", "asphalt", "gravel", "grass"):
        floor += _grain(rng, shape, {"carpet": 5.0, "asphalt": 9.0, "gravel": 16.0, "grass": 13.0}[kind])
        floor += _cloud(rng, shape, 30, 5.0)
    if kind in ("tiles", "slabs", "planks"):
        step = int(_CELL * rng.uniform(0.35, 1.0))
        other = step * (6 if kind == "planks" else 1)
        rows, columns = np.arange(shape[0]) // step, np.arange(shape[1]) // other
        floor += rng.normal(0, 5.0, (rows[-1] + 1, columns[-1] + 1))[rows[:, None], columns[None]][..., None].astype(
            np.float32
        )
        floor[::step] -= 22
        floor[:, ::other] -= 22
    if kind == "asphalt" and rng.random() < 0.6:
        for column in range(int(rng.integers(0, 80)), shape[1], int(2.5 * _CELL)):
            floor[:, column : column + 4] += 70
    return floor


def _panels(rng: Rng, wall: NDArray[np.float32], kind: str) -> None:
    """Doors, windows, pictures or shelves along a wall whose bottom is its last row."""
    height, width = wall.shape[:2]
    column = int(rng.integers(10, 60))
    while column < width - 90:
        wide = int(_CELL * rng.uniform(0.8, 1.8))
        rgb = np.array([rng.uniform(60, 190)] * 3, np.float32) + rng.normal(0, 16, 3).astype(np.float32)
        if kind == "shelves":
            for row in range(8, height - 8, 20):
                stock = rng.uniform(50, 210, (1, wide // 5 + 1, 3)).astype(np.float32)
                wall[row : row + 15, column : column + wide] = np.repeat(stock, 5, axis=1)[:, :wide]
        elif kind == "doors" or rng.random() < 0.25:
            wall[height - int(2.05 * _CELL) :, column : column + int(0.9 * _CELL)] = rgb * 0.8
        elif kind == "glass" or rng.random() < 0.6:
            top, bottom = height - int(2.2 * _CELL), height - int(rng.uniform(0.7, 1.1) * _CELL)
            wall[top:bottom, column : column + wide] = np.array([168, 192, 212], np.float32) + rng.normal(0, 14)
            wall[top:bottom, column + wide // 2 : column + wide // 2 + 2] *= 0.6
        column += wide + int(_CELL * rng.uniform(0.3, 2.2))


def _wall(rng: Rng, kind: str, shape: tuple[int, int]) -> NDArray[np.float32]:
    base = {"brick": (150, 92, 74), "fence": (128, 100, 72), "hedge": (56, 88, 46), "road": (98, 98, 100)}
    wall = _flat(rng, shape, base.get(kind, (186, 182, 172)), 26.0) + _cloud(rng, shape, 4, 5.0)
    if kind == "brick":
        wall[::6] -= 24
        wall[:, ::14] -= 12
    elif kind == "fence":
        wall[:, ::9] -= 34
    elif kind == "hedge":
        wall += _cloud(rng, shape, 22, 14.0) + _grain(rng, shape, 10.0)
    else:
        _panels(rng, wall, kind)
    wall[-3:] -= 30
    return wall


def _lay(
    canvas: NDArray[np.float32],
    texture: NDArray[np.float32],
    corners: NDArray[np.float64],
    camera: Camera,
    size: tuple[int, int],
) -> None:
    """Paint a rectangle of the world (corners [4, 3], clockwise from the top left) with a texture."""
    target = to_pixels(camera, project(camera, corners)[0], size).astype(np.float32)
    height, width = texture.shape[:2]
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, target)
    cv2.warpPerspective(texture, matrix, size, dst=canvas, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT)


@lru_cache(maxsize=4)
def paint(seed: int, place: str, camera: Camera, light: Light, size: tuple[int, int]) -> Picture:
    """The empty place as uint8 [H, W, 3] RGB in the light's tint, read-only (the last few are kept)."""
    rng = np.random.default_rng([seed, 4711])
    outdoor = place in ("yard", "street", "park", "car park", "courtyard")
    width, height = size
    sky = np.array([176, 198, 222] if outdoor else [205, 203, 198], np.float32) * rng.uniform(0.8, 1.1)
    canvas = np.broadcast_to(sky, (height, width, 3)).copy()
    kinds, walls = _FLOORS[place], _WALLS[place]
    floor = _floor(rng, kinds[int(rng.integers(len(kinds)))], (int(9 * _CELL), int(2 * _SPAN * _CELL)))
    kind = walls[int(rng.integers(len(walls)))]
    tall = float({"fence": 1.8, "hedge": 2.4}.get(kind, 3.4))
    behind = WALL
    if kind == "road":  # a road and a front of houses across it
        behind = 6.0
        road = _flat(rng, (int(3 * _CELL), int(2 * _SPAN * _CELL)), (88, 89, 92)) + _cloud(
            rng, (int(3 * _CELL), int(2 * _SPAN * _CELL)), 4, 5.0
        )
        road[:6] += 50
        road[-6:] += 50
    wall = _wall(rng, "brick" if kind == "road" and rng.random() < 0.4 else "doors" if kind == "road" else kind,
                 (int(tall * _CELL), int(2 * _SPAN * _CELL)))  # fmt: skip
    near = max(-5.0, -camera.distance * np.cos(camera.elevation) + 1.5)
    span = _SPAN
    _lay(
        canvas,
        wall,
        np.array([[-span, behind, tall], [span, behind, tall], [span, behind, 0], [-span, behind, 0]]),
        camera,
        size,
    )
    _lay(
        canvas,
        floor,
        np.array([[-span, behind, 0], [span, behind, 0], [span, near, 0], [-span, near, 0]]),
        camera,
        size,
    )
    if kind == "road":
        _lay(canvas, road, np.array([[-span, 5.4, 0], [span, 5.4, 0], [span, 2.6, 0], [-span, 2.6, 0]]), camera, size)
    shade = cv2.resize(rng.normal(1.0, 0.05, (3, 4)).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    picture = np.clip(canvas * shade[..., None] * np.array(light.tint, np.float32), 0, 255).astype(np.uint8)
    picture.flags.writeable = False
    return picture
