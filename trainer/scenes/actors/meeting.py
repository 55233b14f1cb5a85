"""Actions of two people: one turns to the other, or walks there first, and both act at once."""

from __future__ import annotations

import math

from trainer.scenes.actors.acting import (
    FAR,
    LEAD,
    NEAR,
    STANDING,
    TAIL,
    Actor,
    Play,
    Values,
    distance,
    heading,
    mirrored,
)
from trainer.scenes.actors.travelling import go, is_open, length


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
        target = (other.place[0] + side, other.place[1] + play.uniform(-0.2, 0.2))
        if abs(target[0]) > play.wide or not is_open(play, target, actor, other):
            return None
        play.idle_until(actor, clock)
        path = (actor.place, target)
        speed = min(play.uniform(1.0, 1.35), length(path) / 1.7)
        go(play, actor, "walk", path, length(path) / speed, speed)
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
    common = (*values, ("gap", gap), ("step", play.uniform(0.32, 0.42) * max(1.0, gap)))
    segment = play.append(actor, key, seconds, (*common, mirrored(play) if answer == "recoil" else ("mirror", 0.0)))
    play.append(other, answer, seconds, (*common, *extra))
    play.record(key, segment.start + LEAD, segment.end - TAIL, actor, other)
    return segment.end


def punch(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Three to five blows."""
    count = int(play.rng.integers(3, 6))
    seconds = 0.6 + count * play.uniform(0.5, 0.68)
    return _meeting(play, actor, clock, "punch", seconds, (("count", float(count)),), "recoil")


def kick(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Two or three kicks."""
    count = int(play.rng.integers(2, 4))
    seconds = 0.5 + count * play.uniform(0.8, 1.05)
    return _meeting(play, actor, clock, "kick", seconds, (("count", float(count)),), "recoil", (("low", 1.0),))


def hug(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """A hug of two."""
    values = (("high", float(play.rng.random() < 0.5)), ("rate", play.uniform(0.6, 1.2)))
    return _meeting(play, actor, clock, "hug", play.uniform(2.4, 3.8), values, "hug")


def shake_hands(play: Play, actor: Actor, clock: float, alone: bool) -> float | None:
    """Shaking hands."""
    values = (("rate", play.uniform(0.9, 1.5)),)
    return _meeting(play, actor, clock, "shake_hands", play.uniform(2.4, 3.8), values, "shake_hands")
