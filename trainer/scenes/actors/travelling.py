"""Walking and running: across the picture, out of it, into it, around and back, or to a new place."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from trainer.scenes.actors.acting import ABSENT, NEAR, STANDING, Actor, Play, Point, distance, heading

OUTSIDE = 1.3  # metres beyond where people stand from which nobody can be seen


def entry(play: Play) -> Point:
    """Where someone comes into the picture from: outside of its left or right edge."""
    return (float(play.rng.choice([-1, 1])) * (play.wide + OUTSIDE), play.uniform(-0.5, 0.9))


def _ways(play: Play, actor: Actor, running: bool) -> tuple[tuple[Point, ...], str]:
    """A way on the ground and what it leads to: across the picture, out of it, into it, or around and back."""
    rng = play.rng
    out = play.wide + OUTSIDE
    if actor.posture == ABSENT:
        start = entry(play)
        side = math.copysign(1.0, start[0])
        if rng.random() < (0.7 if running else 0.4):
            return (start, (-side * out, start[1] + play.uniform(-0.5, 0.5))), "gone"
        return (start, actor.home), "home"
    if rng.random() < (0.25 if running else 0.35) and abs(actor.place[0]) > 0.25:
        side = math.copysign(1.0, -actor.place[0])  # the long way out
        return (actor.place, (side * out, actor.place[1] + play.uniform(-0.4, 0.5))), "gone"
    if not running and not actor.seat and not actor.ladder and rng.random() < 0.6:
        return (actor.place, free_place(play, actor)), "new"
    return _round(play, actor, running), "home"


def free_place(play: Play, actor: Actor) -> Point:
    """Somewhere else to stand: well away from here and from the others, or here if there is no such place."""
    for _ in range(12):
        place = (play.uniform(-0.95, 0.95) * play.wide, play.uniform(-0.5, 0.8))
        if distance(place, actor.place) > 1.7 and is_open(play, place, actor):
            return place
    return actor.place


def is_open(play: Play, place: Point, *but: Actor) -> bool:
    """Whether someone at a place hides nobody and is hidden by nobody, apart from those named."""
    others = [other for other in play.actors if other not in but and other.posture != ABSENT]
    return all(abs(place[0] - other.place[0]) > 0.6 and distance(place, other.place) > NEAR for other in others)


def _round(play: Play, actor: Actor, running: bool) -> tuple[Point, ...]:
    """A round trip within the picture that ends where it began; a runner uses all of its width."""
    x, y = actor.place
    turn = np.linspace(0, 2 * math.pi, 33)
    depth = play.uniform(0.5, 1.0) * (1 if y < 0.3 else -1)
    if running:
        half = max(play.wide + 0.15, abs(x) + 0.1)
        begin = math.acos(x / half) * (1 if play.rng.random() < 0.5 else -1)
        turn = turn + begin
        way_x, way_y = half * np.cos(turn), y + 0.6 * depth * (np.sin(turn) - math.sin(begin))
    else:
        far = -math.copysign(play.uniform(0.3, 0.95) * play.wide, x or 1.0)
        way_x = 0.5 * (x + far) + 0.5 * (x - far) * np.cos(turn)
        way_y = y + 0.5 * depth * (1 - np.cos(turn)) + 0.35 * depth * np.sin(turn)
    return tuple((float(a), float(b)) for a, b in zip(way_x, np.clip(way_y, -0.8, 1.6), strict=True))


def length(path: tuple[Point, ...]) -> float:
    """Metres along a path."""
    return sum(distance(a, b) for a, b in pairwise(path))


def _travel(play: Play, actor: Actor, clock: float, key: str) -> float | None:
    """Walking or running 2 to 5 s; someone who runs in the picture runs several rounds where one is short."""
    if actor.posture not in (STANDING, ABSENT) or not play.may(actor, key):
        return None
    running = key == "run"
    path, to = _ways(play, actor, running)
    speed = play.uniform(2.1, 2.9) if running else play.uniform(0.95, 1.4)
    if length(path) / speed < 2.0:
        if to != "home" or actor.posture == ABSENT:
            return None
        path = path + path[1:]
    if length(path) / speed < 1.8:
        return None
    speed = max(speed, min(length(path) / 5.2, 3.1 if running else 1.6))
    play.idle_until(actor, clock)
    go(play, actor, key, path, length(path) / speed, speed)
    if to == "gone":
        actor.posture, actor.place = ABSENT, path[-1]
    else:
        actor.posture, actor.place, actor.home, actor.facing = STANDING, path[-1], path[-1], actor.home_facing
    return actor.free_at


def go(play: Play, actor: Actor, key: str, path: tuple[Point, ...], seconds: float, speed: float) -> None:
    """Append walking or running along a path to an actor's time, and to the truth as far as it can be seen."""
    stride = (0.95 if key == "run" else 0.72) * actor.body.height
    values = (("cadence", speed / stride), ("phase", play.uniform(0, 6.28)), ("size", play.uniform(0.88, 1.1)))
    actor.facing = heading(path[-2], path[-1])
    segment = play.append(actor, key, seconds, values, path)
    seen = play.seen(actor, segment)
    if seen is not None:
        start, end = max(seen[0], segment.start + 0.1), min(seen[1], segment.end - 0.1)
        play.record(key, start, end, actor)


def walk(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Walking across, out, in, or around and back."""
    return _travel(play, actor, clock, "walk")


def run(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Running across, out, in, or around and back."""
    return _travel(play, actor, clock, "run")
