"""Frames of a scene at any instants."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.scenes.actors.motions import GRASP, RELEASE
from trainer.scenes.actors.skeleton import JOINT, joints, perform
from trainer.scenes.picture.backgrounds import paint
from trainer.scenes.picture.figures import SHIFT, Figure, Rgb, shadow_polygons
from trainer.scenes.picture.things import draw_object, drawing
from trainer.scenes.stage import Body, Person, Scene, Segment

Frames = NDArray[np.uint8]
Array = NDArray[np.float64]

_BLOCK = 256  # frames whose polygons are held at once
_OBJECT_COLOURS: tuple[Rgb, ...] = (
    (225, 215, 60),
    (215, 60, 50),
    (240, 240, 240),
    (60, 130, 210),
    (250, 150, 40),
    (35, 35, 35),
)
_ROWS, _COLUMNS = 61, 67  # how much larger than a frame the stored noise is


@lru_cache(maxsize=4)
def _tile(size: tuple[int, int]) -> NDArray[np.float32]:
    """Noise of standard deviation 1, partly the same in all colours."""
    tile = np.random.default_rng(20_011).standard_normal((size[1] + _ROWS, size[0] + _COLUMNS, 3), dtype=np.float32)
    return 0.75 * tile + 0.66 * tile[..., :1]


def _noise(size: tuple[int, int], level: float) -> tuple[Frames, Frames]:
    """Noise of standard deviation `level`, split into what to add and what to subtract; larger than a frame.

    Every frame takes another part of it.
    """
    tile = _tile(size)
    more, less = (cv2.convertScaleAbs(part, alpha=level) for part in (np.maximum(tile, 0), np.minimum(tile, 0)))
    return np.asarray(more, np.uint8), np.asarray(less, np.uint8)


def _gains(scene: Scene, times: Array) -> Array:
    light = scene.light
    slow = light.drift * np.sin(2 * np.pi * times / light.drift_period + scene.seed % 7)
    hum = np.sin(np.floor(times * 12.5) * 78.233 + scene.seed % 101) * 43758.5453
    return light.gain * (1 + slow + light.flicker * 2 * (hum - np.floor(hum) - 0.5))


def _tinted(body: Body, tint: tuple[float, float, float]) -> Body:
    def tinted(rgb: Rgb) -> Rgb:
        red, green, blue = (int(min(255, value * gain)) for value, gain in zip(rgb, tint, strict=True))
        return red, green, blue

    return dataclasses.replace(
        body,
        top_rgb=tinted(body.top_rgb),
        trousers_rgb=tinted(body.trousers_rgb),
        skin_rgb=tinted(body.skin_rgb),
        hair_rgb=tinted(body.hair_rgb),
        shoes_rgb=tinted(body.shoes_rgb),
    )


def _hands(person: Person, at: Array, both: bool, mirror: bool) -> Array:
    """Where the acting hand is (or the middle between both) [n, 3] at times [n]."""
    poses, places, headings, _ = perform(person, at)
    body = joints(person.body, poses, places, headings)
    left, right = body[:, JOINT["l_hand"]], body[:, JOINT["r_hand"]]
    return 0.5 * (left + right) if both else left if mirror else right


def _carried(person: Person, segment: Segment, times: Array) -> tuple[Array, Array] | None:
    """Places [n, 3] and radii [n] (metres, 0: not there) of the object a segment picks up or throws."""
    if segment.motion not in ("pick_up", "throw"):
        return None
    values = dict(segment.values)
    radius, length = values.get("radius", 0.09), segment.end - segment.start
    both, mirror = values.get("both", 0.0) > 0.5, values.get("mirror", 0.0) > 0.5
    if times.min() > segment.end + 1.6 or (segment.motion == "throw" and times.max() < segment.start):
        return None
    near = (times > segment.start) & (times < segment.end + 1.0)
    places = np.zeros((len(times), 3))
    if near.any():
        places[near] = _hands(person, times[near], both, mirror)
    if segment.motion == "pick_up":
        grasp = segment.start + GRASP * length
        lying = _hands(person, np.array([grasp]), both, mirror)[0]
        lying[2] = radius
        places[times < grasp] = lying
        gone = np.clip((times - segment.end) / 0.5, 0.0, 1.0)
        return places, radius * (1.0 - gone)
    release = segment.start + RELEASE * length
    start = _hands(person, np.array([release]), both, mirror)[0]
    since = np.maximum(times - release, 0.0)
    speed = values.get("speed", 7.0)
    way = np.array([np.cos(segment.facing) * speed, np.sin(segment.facing) * speed, 1.8])
    flown = start + since[:, None] * way
    flown[:, 2] -= 4.9 * since**2
    places = np.where((times > release)[:, None], flown, places)
    there = (times > segment.start + 0.12 * length) & (places[:, 2] > 0.0) & (since < 1.5)
    return places, np.where(there, radius, 0.0)


Layer = tuple[Array, Callable[[Frames, int], None]]  # distance from the camera per frame, and what draws it
Shadow = tuple[NDArray[np.int32], NDArray[np.bool_]]  # polygons per frame, and whether their owner is there


def _layers(scene: Scene, times: Array, size: tuple[int, int]) -> tuple[list[Layer], list[Shadow]]:
    """Everything that is drawn over the background, and the shadows' polygons with the presence of their owners."""
    camera = scene.camera
    layers: list[Layer] = []
    shadows: list[Shadow] = []
    half = (size[0] // 2, size[1] // 2)
    for thing in scene.things:
        draw = drawing(thing, camera, size)

        def draw_thing(picture: Frames, frame: int, draw: Callable[[Frames, float], None] = draw) -> None:
            draw(picture, float(times[frame]))

        layers.append((np.full(len(times), thing.place[1]), draw_thing))
    for person in scene.people:
        poses, places, headings, present = perform(person, times)
        if not present.any():
            continue
        body = joints(person.body, poses, places, headings)
        figure = Figure(_tinted(person.body, scene.light.tint), body, camera, size)
        depth = np.where(present, body[:, JOINT["pelvis"], 1], np.inf)
        layers.append((depth, figure.draw))
        shadows.append((shadow_polygons(person.body, body, camera, half, scene.light.sun), present))
        for segment in person.segments:
            carried = _carried(person, segment, times)
            if carried is not None:
                places3, radii = carried
                rgb = _OBJECT_COLOURS[int(dict(segment.values).get("object", 0.0)) % len(_OBJECT_COLOURS)]

                def draw_carried(
                    picture: Frames, frame: int, places3: Array = places3, radii: Array = radii, rgb: Rgb = rgb
                ) -> None:
                    draw_object(picture, camera, size, places3[frame], float(radii[frame]), rgb)

                layers.append((np.where(radii > 0.01, places3[:, 1] - 0.12, np.inf), draw_carried))
    return layers, shadows


def _cast_shadows(picture: Frames, shadows: list[Shadow], frame: int, strength: float) -> None:
    height, width = picture.shape[:2]
    mask = np.full((height // 2, width // 2), 255, np.uint8)
    shade = int(255 * (1 - strength))
    for polygons, present in shadows:
        if present[frame]:
            for polygon in polygons[frame]:
                cv2.fillConvexPoly(mask, polygon, shade, cv2.LINE_8, SHIFT)
    mask = cv2.resize(cv2.blur(mask, (3, 3)), (width, height), interpolation=cv2.INTER_LINEAR)
    cv2.multiply(picture, cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB), dst=picture, scale=1 / 255)


def render(scene: Scene, times: Sequence[float] | Array, size: tuple[int, int] = (160, 120)) -> Frames:
    """Frames of a scene: uint8 [n, H, W, 3] RGB at `times` (n instants in seconds), `size` = (width, height) in pixels.

    A frame depends on the scene, its instant and the size only. A size of another aspect stretches the picture.
    """
    instants = np.asarray(times, np.float64)
    out = np.empty((len(instants), size[1], size[0], 3), np.uint8)
    background = paint(scene.seed, scene.place, scene.camera, scene.light, size)
    brighter, darker = _noise(size, scene.light.noise)
    for first in range(0, len(instants), _BLOCK):
        part = instants[first : first + _BLOCK]
        layers, shadows = _layers(scene, part, size)
        depths = np.stack([depth for depth, _ in layers]) if layers else np.zeros((0, len(part)))
        order, gains = np.argsort(-depths, axis=0, kind="stable"), _gains(scene, part)
        for frame in range(len(part)):
            picture = background.copy()
            _cast_shadows(picture, shadows, frame, scene.light.shadow)
            for layer in order[:, frame].tolist():
                if depths[layer, frame] < np.inf:
                    layers[layer][1](picture, frame)
            key = (round(part[frame] * 1000) * 2_654_435_761 + scene.seed * 40_503) & 0xFFFFFFFF
            top, left = (key >> 7) % _ROWS, (key >> 17) % _COLUMNS
            part_of_noise = (slice(top, top + size[1]), slice(left, left + size[0]))
            cv2.convertScaleAbs(picture, dst=picture, alpha=gains[frame])
            cv2.add(picture, brighter[part_of_noise], dst=picture)
            cv2.subtract(picture, darker[part_of_noise], dst=out[first + frame])
    return out
