"""What a scene is made of before anything happens: camera, light, place, people's looks, things around them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from trainer.scenes.stage import Body, Camera, Light, Thing
from trainer.scenes.vocabulary import COLOURS, UNNAMED_COLOURS

Rng = np.random.Generator
T = TypeVar("T")

INDOOR: tuple[str, ...] = ("room", "office", "corridor", "shop", "hall")
OUTDOOR: tuple[str, ...] = ("yard", "street", "park", "car park", "courtyard")

_TROUSERS = ((60, 70, 98), (45, 45, 52), (120, 110, 85), (92, 72, 52), (95, 98, 104), (38, 44, 66), (150, 140, 120))
_SKIN = ((232, 190, 165), (214, 165, 132), (178, 128, 94), (140, 96, 66), (98, 66, 46))
_HAIR = ((38, 28, 22), (70, 46, 28), (120, 86, 48), (168, 136, 84), (130, 130, 132), (22, 20, 20), (112, 56, 30))


def _vary(rng: Rng, rgb: tuple[int, int, int], spread: float) -> tuple[int, int, int]:
    gain = rng.normal(1.0, 0.6 * spread / 40)
    values = np.clip(np.array(rgb) * gain + rng.normal(0, 0.5 * spread, 3), 8, 250)
    return (int(values[0]), int(values[1]), int(values[2]))


def pick(rng: Rng, options: Sequence[T]) -> T:
    """One of the options, each as likely."""
    return options[int(rng.integers(len(options)))]


def draw_body(rng: Rng, top: str | None) -> Body:
    """A person of random build and clothes with a top of the named colour (None: a colour that has no name here)."""
    child = rng.random() < 0.06
    colour = COLOURS[top] if top else pick(rng, UNNAMED_COLOURS)
    return Body(
        height=float(rng.uniform(1.42, 1.55) if child else np.clip(rng.normal(1.73, 0.09), 1.52, 1.96)),
        girth=float(np.clip(rng.normal(1.06, 0.13), 0.82, 1.4)),
        shoulders=float(rng.uniform(0.098, 0.128)),
        legs=float(rng.uniform(0.465, 0.505)),
        top=top,
        top_rgb=_vary(rng, colour, 9.0),
        trousers_rgb=_vary(rng, pick(rng, _TROUSERS), 12.0),
        skin_rgb=_vary(rng, pick(rng, _SKIN), 8.0),
        hair_rgb=_vary(rng, pick(rng, _HAIR), 8.0),
        shoes_rgb=_vary(rng, pick(rng, ((30, 30, 32), (85, 60, 42), (205, 205, 205))), 10.0),
        long_sleeves=bool(rng.random() < 0.7),
        shorts=bool(rng.random() < 0.18),
        long_hair=bool(rng.random() < 0.4),
    )


def draw_camera(rng: Rng) -> Camera:
    """A camera in which a person of average height fills 42 to 60 % of the picture's height."""
    elevation, distance = float(np.deg2rad(rng.uniform(5, 30))), float(rng.uniform(6, 12))
    share = float(rng.uniform(0.42, 0.6))
    focal = share * distance / (1.73 * math.cos(elevation))
    aim = (float(rng.uniform(-0.1, 0.1)), 0.0, float(rng.uniform(0.85, 1.0)))
    return Camera(distance, elevation, focal, float(rng.normal(0, 0.012)), aim)


def half_width(camera: Camera) -> float:
    """Half of the width in metres that the camera sees at the middle of the scene."""
    return 0.5 * camera.aspect * camera.distance / camera.focal


def draw_light(rng: Rng, outdoor: bool) -> Light:
    """Daylight or lamps; one scene in five flickers, one in eight is dim."""
    dim = rng.random() < 0.125
    warm = rng.normal(0, 0.035)
    angle = rng.uniform(0, 2 * math.pi)
    length = rng.uniform(0.25, 0.9) if outdoor else rng.uniform(0.05, 0.3)
    return Light(
        gain=float(rng.uniform(0.66, 0.8) if dim else rng.uniform(0.82, 1.14)),
        tint=(float(1 + warm), 1.0, float(1 - warm)),
        drift=float(rng.uniform(0.0, 0.12) if outdoor else rng.uniform(0.0, 0.04)),
        drift_period=float(rng.uniform(6, 25)),
        flicker=float(rng.uniform(0.02, 0.06)) if rng.random() < 0.2 else 0.0,
        shadow=float(rng.uniform(0.25, 0.55) if outdoor else rng.uniform(0.12, 0.35)),
        sun=(float(length * math.cos(angle)), float(0.7 * length * math.sin(angle))),
        noise=float(rng.uniform(1.0, 4.5) + (2.5 if dim else 0.0)),
    )


def draw_things(rng: Rng, outdoor: bool, place: str, camera: Camera, seconds: float) -> list[Thing]:
    """Distractors and clutter: plants that sway, cars that pass, screens, boxes, a seat or ladder that nobody uses."""
    wide = half_width(camera)
    things = []
    for _ in range(int(rng.integers(0, 3))):
        side = 1 if rng.random() < 0.5 else -1
        at = (float(side * rng.uniform(0.65, 1.1) * wide), float(rng.uniform(1.0, 2.4)))
        size = (float(rng.uniform(0.4, 0.9)), float(rng.uniform(0.7, 1.7)))
        green = _vary(rng, (52, 96, 44), 24.0)
        things.append(
            Thing("plant", at, size, green, speed=float(rng.uniform(0.5, 1.6)), phase=float(rng.uniform(0, 6)))
        )
    for _ in range(int(rng.integers(0, 3))):
        at = (float(rng.uniform(-wide, wide)), float(rng.uniform(1.1, 2.2)))
        edge = float(rng.uniform(0.2, 0.6))
        things.append(Thing("box", at, (edge, float(edge * rng.uniform(0.6, 1.6))), _vary(rng, (135, 112, 84), 45.0)))
    if place in ("street", "car park"):
        clock = float(rng.uniform(0, 8))
        while clock < seconds:
            speed = float(rng.uniform(3.5, 9.0) * (1 if rng.random() < 0.5 else -1))
            rgb = _vary(
                rng, pick(rng, ((170, 30, 30), (40, 60, 130), (200, 200, 205), (40, 40, 44), (120, 124, 130))), 14.0
            )
            things.append(
                Thing("car", (0.0, 3.5 if speed > 0 else 4.4), (float(rng.uniform(3.6, 4.6)), 1.45), rgb, clock, speed)
            )
            clock += float(rng.uniform(5, 22))
    if not outdoor and rng.random() < 0.3:
        at = (float(rng.uniform(-0.8, 0.8) * wide), 2.9)
        things.append(Thing("screen", at, (0.9, 0.55), (70, 110, 160), phase=float(rng.uniform(0, 6))))
    if rng.random() < 0.25:
        things.append(
            Thing(
                "seat",
                (float(rng.uniform(-wide, wide)), float(rng.uniform(1.0, 1.8))),
                (1.0, 0.44),
                _vary(rng, (110, 84, 60), 25.0),
            )
        )
    return things
