"""What a scene consists of, as plain values: camera, people and their segments, things, light, and the truth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One action in the truth, visible from `start` to `end` (seconds from the beginning of the scene).

    `actors` are the colours of the tops of those who take part, whoever acts first (None: a colour without a name);
    `people` are their places in `Scene.people`.
    """

    key: str
    label: str
    start: float
    end: float
    actors: tuple[str | None, ...]
    people: tuple[int, ...]


@dataclass(frozen=True)
class Camera:
    """A fixed pinhole camera that looks at the middle of the scene. Metres, radians; `focal` in picture heights."""

    distance: float
    elevation: float
    focal: float
    roll: float
    aim: tuple[float, float, float]
    aspect: float = 4 / 3


@dataclass(frozen=True)
class Body:
    """Build and clothes of a person. Lengths are fractions of `height` (metres); colours are RGB."""

    height: float
    girth: float
    shoulders: float
    legs: float
    top: str | None
    top_rgb: tuple[int, int, int]
    trousers_rgb: tuple[int, int, int]
    skin_rgb: tuple[int, int, int]
    hair_rgb: tuple[int, int, int]
    shoes_rgb: tuple[int, int, int]
    long_sleeves: bool
    shorts: bool
    long_hair: bool


@dataclass(frozen=True)
class Segment:
    """What one person does from `start` to `end`: a motion by name, its parameters, and the way on the ground.

    `path` holds ground points (x to the right, y away from the camera; metres): one for a motion on the spot,
    several for one that travels along them. `facing` is the heading in radians (0: to the right, pi/2: away from the
    camera) of a motion on the spot. `values` are the motion's own parameters by name.
    """

    motion: str
    start: float
    end: float
    path: tuple[tuple[float, float], ...]
    facing: float
    values: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Person:
    """One of the cast: a body and everything it does, segment after segment without a gap."""

    body: Body
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Thing:
    """A static or moving thing that is no person: `kind` is a seat, ladder, plant, car, lamp ..."""

    kind: str
    place: tuple[float, float]
    size: tuple[float, float]
    rgb: tuple[int, int, int]
    start: float = 0.0
    speed: float = 0.0
    phase: float = 0.0


@dataclass(frozen=True)
class Light:
    """Brightness over time, the sun's direction, and the sensor's noise (standard deviation in grey levels)."""

    gain: float
    tint: tuple[float, float, float]
    drift: float
    drift_period: float
    flicker: float
    shadow: float
    sun: tuple[float, float]
    noise: float


@dataclass(frozen=True)
class Scene:
    """A whole scene of `seconds` seconds: pure data, drawn from a seed, from which every frame follows."""

    seed: int
    seconds: float
    place: str
    camera: Camera
    light: Light
    people: tuple[Person, ...]
    things: tuple[Thing, ...]
    events: tuple[Event, ...]
