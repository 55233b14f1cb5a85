"""Episodes: what an action needs, what it is made of, what follows from it, and what of it is the truth.

An episode is called as `episode(play, actor, clock, alone)` and returns when it is over, or None where the actor cannot
do it. An event begins when something of the action shows and ends when its last part is over.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from trainer.scenes.acting import (
    ABSENT,
    FAR,
    LYING,
    NEAR,
    SITTING,
    STANDING,
    Actor,
    Play,
    Point,
    distance,
    heading,
)

LEAD, TAIL = 0.12, 0.15  # seconds of a segment before the action shows, and after it is over
Values = tuple[tuple[str, float], ...]


def _uniform(play: Play, low: float, high: float) -> float:
    return float(play.rng.uniform(low, high))


def _mirror(play: Play) -> tuple[str, float]:
    return ("mirror", float(play.rng.random() < 0.5))


def _sideways(play: Play) -> float:
    """A heading across the picture, so that what happens ahead of someone shows."""
    return (0.0 if play.rng.random() < 0.5 else math.pi) + float(play.rng.uniform(-0.75, 0.6))


def _simple(
    play: Play, actor: Actor, clock: float, key: str, seconds: float, values: Values, facing: float | None
) -> float:
    play.idle_until(actor, clock, facing)
    segment = play.append(actor, key, seconds, values)
    play.record(key, segment.start + LEAD, segment.end - TAIL, actor)
    return segment.end


def jump(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Two or three jumps on the spot."""
    if actor.posture != STANDING or not play.may(actor, "jump"):
        return None
    count = int(play.rng.integers(2, 4))
    values = (("count", float(count)), ("height", _uniform(play, 0.28, 0.48)))
    return _simple(play, actor, clock, "jump", count * _uniform(play, 0.85, 1.1), values, None)


def wave(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Waving, mostly towards the camera's side."""
    if actor.posture != STANDING or not play.may(actor, "wave"):
        return None
    values = (("rate", _uniform(play, 0.8, 1.5)), ("swing", _uniform(play, 30, 46)),
              ("both", float(play.rng.random() < 0.2)), _mirror(play))  # fmt: skip
    return _simple(
        play, actor, clock, "wave", _uniform(play, 2.3, 4.6), values, -math.pi / 2 + _uniform(play, -1.0, 1.0)
    )


def throw(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Throwing something across the picture."""
    if actor.posture != STANDING or not play.may(actor, "throw"):
        return None
    values = (("radius", _uniform(play, 0.06, 0.11)), ("object", float(play.rng.integers(6))),
              ("both", float(play.rng.random() < 0.25)), ("speed", _uniform(play, 5.0, 8.0)),
              _mirror(play))  # fmt: skip
    return _simple(play, actor, clock, "throw", _uniform(play, 1.7, 2.3), values, _sideways(play))


def pick_up(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Picking up something from the ground."""
    if actor.posture != STANDING or not play.may(actor, "pick_up"):
        return None
    both = float(play.rng.random() < 0.35)
    values = (
        ("radius", _uniform(play, 0.07, 0.1) + 0.06 * both),
        ("object", float(play.rng.integers(6))),
        ("both", both),
        _mirror(play),
    )
    return _simple(play, actor, clock, "pick_up", _uniform(play, 1.8, 2.7), values, _sideways(play))


def climb(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Up and down the ladder beside one's place."""
    if actor.posture != STANDING or not actor.ladder or actor.place != actor.home or not play.may(actor, "climb"):
        return None
    near = [thing for thing in play.things if thing.kind == "ladder"]
    ladder = min(near, key=lambda thing: distance(thing.place, actor.place))
    high = 0.5 * play.camera.distance / play.camera.focal + 0.9 - actor.body.height - 0.1
    values = (("height", float(np.clip(high, 0.45, 1.0))), ("cadence", _uniform(play, 0.7, 1.05)))
    return _simple(play, actor, clock, "climb", _uniform(play, 3.0, 5.0), values, ladder.phase)


def sit_down(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Onto one's seat, and staying there."""
    if (
        actor.posture != STANDING
        or not actor.seat
        or actor.place != actor.home
        or not play.may(actor, "sit_down", "stand_up")
    ):
        return None
    end = _simple(play, actor, clock, "sit_down", _uniform(play, 1.6, 2.2), (), actor.home_facing)
    actor.posture = SITTING
    return end


def stand_up(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """From one's seat (in a clip also from the ground or a crouch)."""
    if not play.may(actor, "stand_up"):
        return None
    if not alone:
        if actor.posture != SITTING:
            return None
        play.idle_until(actor, clock)
        return _rise(play, actor, 0)
    origin = int(play.rng.choice(3, p=[0.45, 0.25, 0.3]))
    begin = actor.free_at
    if origin == 1:
        play.append(actor, "crouch", clock - begin)
        play.record("crouch", begin, clock, actor)
    else:
        actor.posture = LYING if origin == 2 else SITTING
        if origin == 2:
            actor.facing, actor.lying = _falling(play, actor)
            play.record("lie_still", begin, clock, actor)
        play.idle_until(actor, clock)
    return _rise(play, actor, origin)


def _rise(play: Play, actor: Actor, origin: int, extra: Values = ()) -> float:
    seconds = _uniform(play, *((1.5, 2.1), (1.4, 1.9), (2.2, 3.0))[origin])
    segment = play.append(actor, "stand_up", seconds, (("from", float(origin)), *actor.lying, *extra))
    play.record("stand_up", segment.start + 0.05, segment.end - TAIL, actor)
    actor.posture, actor.lying = STANDING, ()
    return segment.end


def crouch(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Down, staying there for a while, and up again."""
    if actor.posture != STANDING or not play.may(actor, "crouch", *(() if alone else ("stand_up",))):
        return None
    covered = ("covered", float(play.rng.random() < 0.3))
    play.idle_until(actor, clock, actor.facing + _uniform(play, -0.5, 0.5))
    segment = play.append(
        actor, "crouch", _uniform(play, 2.0, 4.0), (("down", _uniform(play, 0.6, 1.0)), covered, _mirror(play))
    )
    play.record("crouch", segment.start + LEAD, segment.end, actor)
    return _rise(play, actor, 1, (covered, segment.values[2]))


def _falling(play: Play, actor: Actor) -> tuple[float, Values]:
    """A heading and a direction of fall that lies across the picture and towards its middle where it is narrow."""
    toward = (
        0.0 if actor.place[0] < -0.25 * play.wide else math.pi if actor.place[0] > 0.25 * play.wide else _sideways(play)
    )
    world = toward + _uniform(play, -0.45, 0.45)
    tip = float(play.rng.choice([0.0, 180.0, 90.0, -90.0])) + _uniform(play, -20, 20)
    return world - math.radians(tip), (("tip", tip), ("limbs", _uniform(play, 0.0, 0.8)))


def fall(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """A fall, lying there, and (mostly) getting up."""
    follow = () if alone else ("lie_still", "stand_up")
    if actor.posture != STANDING or not play.may(actor, "fall", *follow):
        return None
    facing, lying = _falling(play, actor)
    play.idle_until(actor, clock, facing)
    values = (*lying, ("buckle", _uniform(play, 0.0, 1.0)))
    segment = play.append(actor, "fall", _uniform(play, 1.9, 2.6), values)
    landed = segment.start + 0.8 * (segment.end - segment.start)
    play.record("fall", segment.start + LEAD, landed, actor)
    actor.posture, actor.lying = LYING, lying
    rest = play.append(actor, "lie_still", _uniform(play, 2.4, 5.0), lying)
    play.record("lie_still", landed, rest.end, actor)
    return _rise(play, actor, 2)


def lie_still(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Lying there from the beginning (clips only; in streams lying follows from a fall)."""
    if not alone or not play.may(actor, "lie_still"):
        return None
    actor.facing, actor.lying = _falling(play, actor)
    actor.posture = LYING
    start = actor.free_at
    play.idle_until(actor, clock + 12.0)
    play.record("lie_still", start, actor.free_at, actor)
    return actor.free_at


def _ways(play: Play, actor: Actor, running: bool) -> tuple[tuple[Point, ...], str]:
    """A way on the ground and what it leads to: across the picture, out of it, into it, or around and back."""
    rng = play.rng
    out = play.wide + 1.3
    if actor.posture == ABSENT:
        side = float(rng.choice([-1, 1]))
        start = (side * out, _uniform(play, -0.5, 0.9))
        if rng.random() < (0.7 if running else 0.4):
            return (start, (-side * out, start[1] + _uniform(play, -0.5, 0.5))), "gone"
        return (start, actor.home), "home"
    if rng.random() < (0.25 if running else 0.35) and abs(actor.place[0]) > 0.25:
        side = math.copysign(1.0, -actor.place[0])  # the long way out
        return (actor.place, (side * out, actor.place[1] + _uniform(play, -0.4, 0.5))), "gone"
    if not running and not actor.seat and not actor.ladder and rng.random() < 0.6:
        return (actor.place, _free_place(play, actor)), "new"
    return _round(play, actor, running), "home"


def _free_place(play: Play, actor: Actor) -> Point:
    """Somewhere else to stand: well away from here and from the others, or here if there is no such place."""
    for _ in range(12):
        place = (_uniform(play, -0.95, 0.95) * play.wide, _uniform(play, -0.5, 0.8))
        if distance(place, actor.place) > 1.7 and _open(play, place, actor):
            return place
    return actor.place


def _open(play: Play, place: Point, *but: Actor) -> bool:
    """Whether someone at a place hides nobody and is hidden by nobody, apart from those named."""
    others = [other for other in play.actors if other not in but and other.posture != ABSENT]
    return all(abs(place[0] - other.place[0]) > 0.6 and distance(place, other.place) > NEAR for other in others)


def _round(play: Play, actor: Actor, running: bool) -> tuple[Point, ...]:
    """A round trip within the picture that ends where it began; a runner uses all of its width."""
    x, y = actor.place
    turn = np.linspace(0, 2 * math.pi, 33)
    depth = _uniform(play, 0.5, 1.0) * (1 if y < 0.3 else -1)
    if running:
        half = max(play.wide + 0.15, abs(x) + 0.1)
        begin = math.acos(x / half) * (1 if play.rng.random() < 0.5 else -1)
        turn = turn + begin
        way_x, way_y = half * np.cos(turn), y + 0.6 * depth * (np.sin(turn) - math.sin(begin))
    else:
        far = -math.copysign(_uniform(play, 0.3, 0.95) * play.wide, x or 1.0)
        way_x = 0.5 * (x + far) + 0.5 * (x - far) * np.cos(turn)
        way_y = y + 0.5 * depth * (1 - np.cos(turn)) + 0.35 * depth * np.sin(turn)
    return tuple((float(a), float(b)) for a, b in zip(way_x, np.clip(way_y, -0.8, 1.6), strict=True))


def _length(path: tuple[Point, ...]) -> float:
    return sum(distance(a, b) for a, b in pairwise(path))


def _travel(play: Play, actor: Actor, clock: float, key: str) -> float | None:
    """Walking or running 2 to 5 s; someone who runs in the picture runs several rounds where one is short."""
    if actor.posture not in (STANDING, ABSENT) or not play.may(actor, key):
        return None
    running = key == "run"
    path, to = _ways(play, actor, running)
    speed = _uniform(play, 2.1, 2.9) if running else _uniform(play, 0.95, 1.4)
    if _length(path) / speed < 2.0:
        if to != "home" or actor.posture == ABSENT:
            return None
        path = path + path[1:]
    if _length(path) / speed < 1.8:
        return None
    speed = max(speed, min(_length(path) / 5.2, 3.1 if running else 1.6))
    play.idle_until(actor, clock)
    _go(play, actor, key, path, _length(path) / speed, speed)
    if to == "gone":
        actor.posture, actor.place = ABSENT, path[-1]
    else:
        actor.posture, actor.place, actor.home, actor.facing = STANDING, path[-1], path[-1], actor.home_facing
    return actor.free_at


def _go(play: Play, actor: Actor, key: str, path: tuple[Point, ...], seconds: float, speed: float) -> None:
    stride = (0.95 if key == "run" else 0.72) * actor.body.height
    values = (("cadence", speed / stride), ("phase", _uniform(play, 0, 6.28)), ("size", _uniform(play, 0.88, 1.1)))
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


def _suited(actor: Actor, other: Actor) -> bool:
    """Whether two stand so that they can act together: within a step, or far enough for an approach; not in line."""
    gap = distance(actor.place, other.place)
    beside = abs(math.sin(heading(actor.place, other.place))) < 0.85
    return (NEAR <= gap <= FAR and beside) or gap > 2.4


def _together(play: Play, actor: Actor, clock: float, key: str) -> tuple[Actor, float] | None:
    """Someone to act with, both turned to each other at `clock`; the actor first walks there where they are apart."""
    others = [
        other for other in play.actors if other is not actor and other.posture == STANDING and other.free_at <= clock
    ]
    if actor.posture != STANDING or not others or not play.may(actor, key):
        return None
    suited = [other for other in others if _suited(actor, other)]
    if not suited:
        return None
    other = min(suited, key=lambda other: distance(other.place, actor.place))
    gap = distance(actor.place, other.place)
    if gap > FAR:
        if not play.may(actor, "walk"):
            return None
        side = math.copysign(1.05, actor.place[0] - other.place[0])
        target = (other.place[0] + side, other.place[1] + _uniform(play, -0.2, 0.2))
        if abs(target[0]) > play.wide or not _open(play, target, actor, other):
            return None
        play.idle_until(actor, clock)
        speed = _uniform(play, 1.0, 1.35)
        path = (actor.place, target)
        _go(play, actor, "walk", path, _length(path) / speed, speed)
        actor.place, actor.home, actor.seat, actor.ladder = target, target, False, False
        clock = actor.free_at
    play.idle_until(actor, clock, heading(actor.place, other.place))
    play.idle_until(other, clock, heading(other.place, actor.place))
    return other, distance(actor.place, other.place)


def _meeting(
    play: Play, actor: Actor, clock: float, key: str, seconds: float, values: Values, answer: str, extra: Values = ()
) -> float | None:
    met = _together(play, actor, clock, key)
    if met is None:
        return None
    other, gap = met
    common = (*values, ("gap", gap), ("step", _uniform(play, 0.32, 0.42) * max(1.0, gap)))
    segment = play.append(actor, key, seconds, (*common, _mirror(play) if answer == "recoil" else ("mirror", 0.0)))
    play.append(other, answer, seconds, (*common, *extra))
    play.record(key, segment.start + LEAD, segment.end - TAIL, actor, other)
    return segment.end


def punch(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Three to five blows."""
    count = int(play.rng.integers(3, 6))
    seconds = 0.6 + count * _uniform(play, 0.5, 0.68)
    return _meeting(play, actor, clock, "punch", seconds, (("count", float(count)),), "recoil")


def kick(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Two or three kicks."""
    count = int(play.rng.integers(2, 4))
    seconds = 0.5 + count * _uniform(play, 0.8, 1.05)
    return _meeting(play, actor, clock, "kick", seconds, (("count", float(count)),), "recoil", (("low", 1.0),))


def hug(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """A hug of two."""
    values = (("high", float(play.rng.random() < 0.5)), ("rate", _uniform(play, 0.6, 1.2)))
    return _meeting(play, actor, clock, "hug", _uniform(play, 2.4, 3.8), values, "hug")


def shake_hands(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Shaking hands."""
    values = (("rate", _uniform(play, 0.9, 1.5)),)
    return _meeting(play, actor, clock, "shake_hands", _uniform(play, 2.4, 3.8), values, "shake_hands")


Episode = Callable[[Play, Actor, float, bool], float | None]

EPISODES: dict[str, Episode] = {
    "walk": walk, "run": run, "fall": fall, "sit_down": sit_down, "stand_up": stand_up, "jump": jump, "wave": wave,
    "punch": punch, "kick": kick, "hug": hug, "shake_hands": shake_hands, "pick_up": pick_up, "throw": throw,
    "crouch": crouch, "climb": climb, "lie_still": lie_still,
}  # fmt: skip


def act(play: Play, key: str, clock: float, actor: Actor | None = None, alone: bool = False) -> float | None:
    """Append an episode that begins with `key` at about `clock` (s); when it ends, or None if nobody can do it.

    `actor` names who does it; `alone`: without regard to what usually comes before or after (clips).
    """
    candidates = [actor] if actor else [play.actors[int(i)] for i in play.rng.permutation(len(play.actors))]
    if key in ("walk", "run", "sit_down"):  # those who stand together mostly stay together
        candidates.sort(key=lambda who: (who.posture != ABSENT) + (play.partner(who) is not None))
    for who in candidates:
        end = EPISODES[key](play, who, clock, alone) if who.free_at <= clock else None
        if end is not None:
            return end
    return None
