"""Scenes drawn from a seed: who stands where, who does what when, and the truth that follows from it.

`draw_stream` draws what a camera sees over minutes; `draw_clip` a short window around one action, or around none.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from trainer.scenes.actors.acting import ABSENT, SITTING, Play
from trainer.scenes.actors.casting import (
    INDOOR,
    OUTDOOR,
    draw_body,
    draw_camera,
    draw_light,
    draw_things,
    half_width,
    pick,
)
from trainer.scenes.actors.episodes import act
from trainer.scenes.stage import Person, Scene, Segment
from trainer.scenes.vocabulary import BY_KEY, COLOURS, KEYS, Pairs, allowed, split_of

Rng = np.random.Generator

GAP = (2.2, 7.0)  # seconds without an action between two that do not follow from each other
STRETCH = (7.0, 14.0)  # a longer gap now and then
STRETCH_SHARE = 0.18
OVERLAP_SHARE = 0.05
EMPTY_SHARE = 0.15  # scenes without an action in which there is nobody
MARGIN = 1.5  # seconds around a clip in which its people already live


def _tops(rng: Rng, count: int) -> list[str | None]:
    """Colours of the tops: mostly named, all different where they have a name."""
    named = [str(name) for name in rng.permutation(list(COLOURS))[:count]]
    return [name if rng.random() > 0.15 else None for name in named]


def _empty_play(seed: int, seconds: float, pairs: Pairs, tops: list[str | None] | None, rng: Rng) -> Play:
    """A place with its cast, before anything happens."""
    outdoor = bool(rng.random() < 0.55)
    place = str(pick(rng, OUTDOOR if outdoor else INDOOR))
    camera = draw_camera(rng)
    wide = half_width(camera) - 0.5
    if tops is None:
        most = 4 if wide > 2.0 else 3
        count = 1 + int(
            rng.choice(most, p=np.array([0.12, 0.43, 0.3, 0.15][:most]) / sum([0.12, 0.43, 0.3, 0.15][:most]))
        )
        tops = _tops(rng, count)
    play = Play(seed, seconds, place, camera, draw_light(rng, outdoor), pairs, rng, wide)
    play.things.extend(draw_things(rng, outdoor, place, camera, seconds))
    for top, (x, y) in zip(tops, _slots(rng, len(tops), wide), strict=True):
        play.add_actor(draw_body(rng, top), (x, y))
    return play


def _slots(rng: Rng, count: int, wide: float) -> list[tuple[float, float]]:
    """Places to stand: the first two as a pair, about a metre apart, the others beside them."""
    gap = float(rng.uniform(0.98, 1.3))
    turn = float(rng.uniform(-0.45, 0.45))
    if count == 0:
        return []
    if count == 1:
        return [(float(rng.uniform(-0.55, 0.55) * wide), float(rng.uniform(-0.5, 0.6)))]
    left = rng.random() < 0.5
    edge = wide - 0.5 * gap
    middle = (
        float(rng.uniform(-0.3, 0.3) * edge)
        if count == 2
        else float((-1 if left else 1) * rng.uniform(0.45, 0.8) * edge)
    )
    depth = float(rng.uniform(-0.35, 0.35))
    dx, dy = 0.5 * gap * math.cos(turn), 0.5 * gap * math.sin(turn)
    slots = [(middle - dx, depth - dy), (middle + dx, depth + dy)]
    away = 1 if left else -1
    if count == 3:
        slots.append((float(away * rng.uniform(0.5, 0.95) * wide), float(rng.uniform(-0.5, 0.9))))
    elif count == 4:
        x, y = float(away * rng.uniform(0.6, 0.8) * edge), depth + float(rng.choice([-0.6, 0.6]))
        slots += [(x - dx, y + dy), (x + dx, y - dy)]
    return slots


def _weights(counts: dict[str, int]) -> np.ndarray:
    """Probabilities of the next action: the rarer an action has been, the likelier. Lying only follows a fall."""
    starting = {
        "lie_still": 0.0,
        "stand_up": 0.6,
        "crouch": 0.6,
        "sit_down": 2.2,
        "walk": 0.7,
        "climb": 2.6,
        "punch": 2.4,
        "kick": 2.4,
        "hug": 2.4,
        "shake_hands": 2.4,
        "fall": 0.85,
        "run": 1.2,
    }
    raw = np.array([starting.get(key, 1.0) / (0.35 + counts[key]) ** 2 for key in KEYS])
    return np.asarray(raw / raw.sum())


def draw_stream(seed: int, seconds: float = 120.0, *, density: float = 1.0, pairs: Pairs | None = None) -> Scene:
    """A camera's stream: mostly one action at a time, gaps between them, natural transitions.

    `density` shortens the gaps (2.0: half as long; 0: no action at all, sometimes nobody). `pairs` says which (colour,
    action) pairs may act: "seen" leaves the held-out ones aside (the default of train seeds), "all" does not (the
    default of all others).
    """
    rng = np.random.default_rng([seed, 1])
    rule: Pairs = pairs or ("seen" if split_of(seed) == "train" else "all")
    play = _empty_play(seed, seconds, rule, [] if density == 0 and rng.random() < EMPTY_SHARE else None, rng)
    play.settle()
    clock = float(rng.uniform(1.0, 4.0)) / density if density > 0 else math.inf
    while clock < seconds - 2.0:
        order = rng.choice(KEYS, size=len(KEYS), replace=False, p=_spread(_weights(play.counts)))
        for key in (*_due(play, rng), *order):
            end = act(play, str(key), clock)
            if end is not None:
                break
        else:
            end = clock
        if rng.random() < OVERLAP_SHARE:
            clock = max(clock + 0.5, end - float(rng.uniform(0.4, 1.2)))
        else:
            low, high = STRETCH if rng.random() < STRETCH_SHARE else GAP
            clock = end + float(rng.uniform(low, high)) / density
    return play.finish()


def _due(play: Play, rng: Rng) -> tuple[str, ...]:
    """Now and then an end to a long sitting or absence, so that people are free for other actions."""
    postures = {actor.posture for actor in play.actors}
    if SITTING in postures and rng.random() < 0.4:
        return ("stand_up",)
    if ABSENT in postures and rng.random() < 0.4:
        return (str(rng.choice(["walk", "run"])),)
    return ()


def _spread(weights: np.ndarray) -> np.ndarray:
    """Weights without zeros, for drawing an order without replacement."""
    return np.asarray((weights + 1e-9) / (weights + 1e-9).sum())


def draw_clip(
    seed: int,
    action: str | None,
    *,
    colour: str | None = None,
    seconds: float = 2.5,
    shift: float = 0.0,
    pairs: Pairs | None = None,
) -> Scene:
    """A short scene of `seconds` around one action, or (`action` None) one that shows none.

    The window's middle is the action's middle plus `shift` seconds. `colour` names the top of whoever acts; without it
    one is drawn that `pairs` allows ("seen" by default for train seeds, else "all").
    Raises ValueError for an unknown action or colour, and for a pair that `pairs` excludes.
    """
    rng = np.random.default_rng([seed, 2])
    rule: Pairs = pairs or ("seen" if split_of(seed) == "train" else "all")
    if action is not None and action not in BY_KEY:
        raise ValueError(f"no action {action!r}; the actions are {', '.join(KEYS)}")
    if colour is not None and colour not in COLOURS:
        raise ValueError(f"no colour {colour!r}; the colours are {', '.join(COLOURS)}")
    if action is None:
        length = seconds + 2 * MARGIN
        play = _empty_play(seed, length, "all", [] if rng.random() < EMPTY_SHARE else None, rng)
        play.settle()
        return window(play.finish(), MARGIN, seconds)
    choices = [name for name in COLOURS if allowed(action, name, rule)]
    if colour is None:
        colour = str(choices[int(rng.integers(len(choices)))])
    elif colour not in choices:
        raise ValueError(f"{colour} and {action} are no pair of the {rule!r} ones")
    others = [str(name) for name in rng.permutation([name for name in COLOURS if name != colour])]
    count = BY_KEY[action].actors + int(rng.choice(3, p=[0.55, 0.32, 0.13]))
    tops: list[str | None] = [colour, *others[: min(count, 4) - 1]]
    play = _empty_play(seed, 40.0, "all", tops, rng)
    begin = 12.0
    play.settle(star=action)
    if all(act(play, action, begin, actor=play.actors[0], alone=True) is None for _ in range(50)):
        raise RuntimeError(f"the scene of seed {seed} has no room for {action}")
    scene = play.finish()
    event = next(event for event in scene.events if event.key == action)
    return window(scene, 0.5 * (event.start + event.end) + shift - 0.5 * seconds, seconds)


def window(scene: Scene, start: float, seconds: float) -> Scene:
    """The part of a scene from `start` on, `seconds` long, with its own time from 0; events are clipped to it."""
    people = tuple(
        Person(person.body, tuple(_moved(segment, start) for segment in person.segments)) for person in scene.people
    )
    things = tuple(dataclasses.replace(thing, start=thing.start - start, phase=thing.phase) for thing in scene.things)
    events = tuple(
        dataclasses.replace(event, start=max(0.0, event.start - start), end=min(seconds, event.end - start))
        for event in scene.events
        if event.end - start > 0.05 and event.start - start < seconds - 0.05
    )
    return dataclasses.replace(scene, seconds=seconds, people=people, things=things, events=events)


def _moved(segment: Segment, start: float) -> Segment:
    return dataclasses.replace(segment, start=segment.start - start, end=segment.end - start)
