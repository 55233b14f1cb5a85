"""Episodes: what an action needs, what it is made of, what follows from it, and what of it is the truth.

An episode is called as `episode(play, actor, clock, alone)` and returns when it is over, or None where the actor cannot
do it. An event begins when something of the action shows and ends when its last part is over.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from trainer.scenes.actors.acting import (
    ABSENT,
    LEAD,
    LYING,
    SITTING,
    STANDING,
    TAIL,
    Actor,
    Play,
    Point,
    Values,
    distance,
    heading,
    mirrored,
)
from trainer.scenes.actors.meeting import hug, kick, punch, shake_hands
from trainer.scenes.actors.travelling import entry, go, is_open, length, run, walk

TRIP_SHARE = 0.35  # falls for which someone would like to walk or run first


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
    values = (("count", float(count)), ("height", play.uniform(0.28, 0.48)))
    return _simple(play, actor, clock, "jump", count * play.uniform(0.85, 1.1), values, None)


def wave(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Waving, mostly towards the camera's side."""
    if actor.posture != STANDING or not play.may(actor, "wave"):
        return None
    values = (("rate", play.uniform(0.8, 1.5)), ("swing", play.uniform(30, 46)),
              ("both", float(play.rng.random() < 0.2)), mirrored(play))  # fmt: skip
    return _simple(play, actor, clock, "wave", play.uniform(2.3, 4.6), values, -math.pi / 2 + play.uniform(-1.0, 1.0))


def throw(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Throwing something across the picture."""
    if actor.posture != STANDING or not play.may(actor, "throw"):
        return None
    values = (("radius", play.uniform(0.06, 0.11)), ("object", float(play.rng.integers(6))),
              ("both", float(play.rng.random() < 0.25)), ("speed", play.uniform(5.0, 8.0)),
              mirrored(play))  # fmt: skip
    return _simple(play, actor, clock, "throw", play.uniform(1.7, 2.3), values, _sideways(play))


def pick_up(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Picking up something from the ground."""
    if actor.posture != STANDING or not play.may(actor, "pick_up"):
        return None
    both = float(play.rng.random() < 0.35)
    values = (
        ("radius", play.uniform(0.07, 0.1) + 0.06 * both),
        ("object", float(play.rng.integers(6))),
        ("both", both),
        mirrored(play),
    )
    return _simple(play, actor, clock, "pick_up", play.uniform(1.8, 2.7), values, _sideways(play))


def climb(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Up and down the ladder beside one's place."""
    if actor.posture != STANDING or not actor.ladder or actor.place != actor.home or not play.may(actor, "climb"):
        return None
    near = [thing for thing in play.things if thing.kind == "ladder"]
    ladder = min(near, key=lambda thing: distance(thing.place, actor.place))
    high = 0.5 * play.camera.distance / play.camera.focal + 0.9 - actor.body.height - 0.1
    values = (("height", float(np.clip(high, 0.45, 1.0))), ("cadence", play.uniform(0.7, 1.05)))
    return _simple(play, actor, clock, "climb", play.uniform(3.0, 5.0), values, ladder.phase)


def sit_down(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Onto one's seat, and staying there."""
    if (
        actor.posture != STANDING
        or not actor.seat
        or actor.place != actor.home
        or not play.may(actor, "sit_down", "stand_up")
    ):
        return None
    end = _simple(play, actor, clock, "sit_down", play.uniform(1.6, 2.2), (), actor.home_facing)
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
    seconds = play.uniform(*((1.5, 2.1), (1.4, 1.9), (2.2, 3.0))[origin])
    segment = play.append(actor, "stand_up", seconds, (("from", float(origin)), *actor.lying, *extra))
    play.record("stand_up", segment.start + 0.05, segment.end - TAIL, actor)
    actor.posture, actor.lying = STANDING, ()
    return segment.end


def crouch(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Down, staying there for a while, and up again."""
    if actor.posture != STANDING or not play.may(actor, "crouch", *(() if alone else ("stand_up",))):
        return None
    covered = ("covered", float(play.rng.random() < 0.3))
    play.idle_until(actor, clock, actor.facing + play.uniform(-0.5, 0.5))
    segment = play.append(
        actor, "crouch", play.uniform(2.0, 4.0), (("down", play.uniform(0.6, 1.0)), covered, mirrored(play))
    )
    play.record("crouch", segment.start + LEAD, segment.end, actor)
    return _rise(play, actor, 1, (covered, segment.values[2]))


def _falling(play: Play, actor: Actor) -> tuple[float, Values]:
    """A heading and a direction of fall that lies across the picture and towards its middle where it is narrow."""
    toward = (
        0.0 if actor.place[0] < -0.25 * play.wide else math.pi if actor.place[0] > 0.25 * play.wide else _sideways(play)
    )
    world = toward + play.uniform(-0.45, 0.45)
    tip = float(play.rng.choice([0.0, 180.0, 90.0, -90.0])) + play.uniform(-20, 20)
    return world - math.radians(tip), (("tip", tip), ("limbs", play.uniform(0.0, 0.8)))


def _tripping(play: Play, actor: Actor, clock: float) -> tuple[float, Values] | None:
    """Someone walks or runs before the fall: heading and direction of the fall, or None where there is no way to go."""
    key, speed = ("run", play.uniform(2.1, 2.8)) if play.rng.random() < 0.4 else ("walk", play.uniform(0.95, 1.4))
    if actor.seat or actor.ladder or not play.may(actor, key):
        return None
    start = actor.place if actor.posture == STANDING else entry(play)
    target = _way_to_trip(play, actor, start, 1.3 * speed)
    if target is None:
        return None
    play.idle_until(actor, clock)
    path = (start, target)
    go(play, actor, key, path, length(path) / speed, speed)
    actor.posture, actor.place, actor.home = STANDING, target, target
    return actor.facing, (("tip", play.uniform(-25, 25)), ("limbs", play.uniform(0.0, 0.8)))


def _way_to_trip(play: Play, actor: Actor, start: Point, least: float) -> Point | None:
    """Where a way of at least `least` metres across the picture ends with room to fall ahead, or None."""
    for _ in range(20):
        target = (play.uniform(-0.65, 0.65) * play.wide, play.uniform(-0.4, 0.7))
        across = abs(math.sin(heading(start, target))) < 0.6
        room = target[0] * math.copysign(1.0, target[0] - start[0]) < play.wide - 0.7
        if across and room and distance(start, target) >= least and is_open(play, target, actor):
            return target
    return None


def fall(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """A fall, on the spot or out of walking or running, lying there, and getting up."""
    follow = () if alone else ("lie_still", "stand_up")
    if actor.posture not in (STANDING, ABSENT) or not play.may(actor, "fall", *follow):
        return None
    wanted = not alone and (actor.posture == ABSENT or play.rng.random() < TRIP_SHARE)
    tripping = _tripping(play, actor, clock) if wanted else None
    if actor.posture == ABSENT:
        return None
    facing, lying = tripping or _falling(play, actor)
    play.idle_until(actor, actor.free_at if tripping else clock, facing)
    segment = play.append(actor, "fall", play.uniform(1.9, 2.6), (*lying, ("buckle", play.uniform(0.0, 1.0))))
    landed = segment.start + 0.8 * (segment.end - segment.start)
    play.record("fall", segment.start + LEAD, landed, actor)
    actor.posture, actor.lying = LYING, lying
    rest = play.append(actor, "lie_still", play.uniform(2.4, 5.0), lying)
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
