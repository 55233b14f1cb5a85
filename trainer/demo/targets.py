"""The truth of a window as numbers: overlaps with events, shares per action, and which captions are true. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.demo.phrases import PHRASES, Fact
from trainer.recipe import Targets
from trainer.scenes.vocabulary import COLOURS, KEYS

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

_COLOUR_INDEX = {colour: index for index, colour in enumerate(COLOURS)}
_UNNAMED, _NOBODY = -1, -2
_MUTUAL = np.array([PHRASES[key].mutual for key in KEYS])


@dataclass(frozen=True)
class Events:
    """The events of a stretch of video as columns; seconds from its beginning, indices into KEYS and COLOURS."""

    start: npt.NDArray[np.float64]
    end: npt.NDArray[np.float64]
    key: npt.NDArray[np.int64]
    actor: npt.NDArray[np.int64]
    other: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start)


def events_of(rows: Sequence[tuple[str, float, float, Sequence[str | None]]]) -> Events:
    """Columns of (key, start, end, colours of whoever acts first and second)."""
    people = [tuple(row[3]) for row in rows]
    return Events(
        start=np.array([row[1] for row in rows], np.float64),
        end=np.array([row[2] for row in rows], np.float64),
        key=np.array([KEYS.index(row[0]) for row in rows], np.int64),
        actor=np.array([_colour(who, 0) for who in people], np.int64),
        other=np.array([_colour(who, 1) for who in people], np.int64),
    )


def _colour(people: Sequence[str | None], place: int) -> int:
    if place >= len(people):
        return _NOBODY
    colour = people[place]
    return _UNNAMED if colour is None else _COLOUR_INDEX[colour]


@dataclass(frozen=True)
class Truth:
    """What is true of n windows. Rows are windows; A actions, F facts."""

    mass: Floats
    """Target of the cross-entropy, [n, A + 1]; the last column is the background. Zero rows take no part."""
    undecided: Flags
    """Actions that are neither shown nor absent, [n, A]."""
    positives: Flags
    """Facts that are true, [n, F]."""
    open: Flags
    """Facts that are neither true nor false, [n, F]."""
    background: Flags
    """Windows that show none of the actions, [n]."""
    colours: Floats
    """Shares of the named colours among those who act, [n, C]; zero rows where nobody in a named colour does."""


def overlaps(ends: npt.NDArray[np.float64], length: float, events: Events) -> npt.NDArray[np.float64]:
    """Overlap of windows (seconds of their ends, one length) with events, as a share of the shorter: [n, E]."""
    begin = np.maximum((ends - length)[:, None], events.start)
    finish = np.minimum(ends[:, None], events.end)
    shorter = np.minimum(length, events.end - events.start)
    return np.asarray(np.maximum(0.0, finish - begin) / np.maximum(shorter, 1e-9))


def matches(events: Events, facts: Sequence[Fact]) -> Flags:
    """Which facts each event makes true: [E, F]. The same rule as `Fact.matches`, for many at once."""
    key = np.array([KEYS.index(fact.key) for fact in facts])
    actor = np.array([_UNNAMED if fact.actor is None else _COLOUR_INDEX[fact.actor] for fact in facts])
    other = np.array([_UNNAMED if fact.other is None else _COLOUR_INDEX[fact.other] for fact in facts])

    def agrees(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> Flags:
        by_actor = (actor == _UNNAMED) | (actor == first[:, None])
        return np.asarray(by_actor & ((other == _UNNAMED) | (other == second[:, None])))

    direct = agrees(events.actor, events.other)
    swapped = agrees(events.other, events.actor) & (_MUTUAL[events.key] & (events.other != _NOBODY))[:, None]
    return np.asarray((key == events.key[:, None]) & (direct | swapped))


def describe(
    last: npt.NDArray[np.float64], frames: int, rate: int, events: Events, facts: Sequence[Fact], rules: Targets
) -> Truth:
    """The truth of windows of `frames` items at `rate` whose last items were captured at `last` (seconds).

    A frame stands for one sampling period around it. `rules.first` and `rules.last` items do not count.
    """
    ends = last + (0.5 - rules.last) / rate
    share = overlaps(ends, (frames - rules.first - rules.last) / rate, events)
    weight = np.clip((share - rules.negative) / (rules.positive - rules.negative), 0.0, 1.0)
    by_key = np.zeros((len(ends), len(KEYS)))
    for event, key in enumerate(events.key):
        np.maximum(by_key[:, key], weight[:, event], out=by_key[:, key])
    if rules.edge == "soft":
        undecided = np.zeros_like(by_key, dtype=bool)
        mass = np.concatenate((by_key, 1.0 - by_key.max(axis=1, keepdims=True)), axis=1)
    else:
        undecided = (by_key > 0) & (by_key < 1)
        shown = (by_key == 1).astype(float)
        mass = np.concatenate((shown, (by_key.max(axis=1, keepdims=True) == 0).astype(float)), axis=1)
    total = mass.sum(axis=1, keepdims=True)
    mass = np.divide(mass, total, out=np.zeros_like(mass), where=total > 0)
    true_of = matches(events, facts)
    sure = weight >= (1.0 if rules.edge == "ignore" else 0.75)
    positives = (sure.astype(np.float32) @ true_of.astype(np.float32)) > 0
    touched = ((weight > 0).astype(np.float32) @ true_of.astype(np.float32)) > 0
    background = by_key.max(axis=1) == 0
    colours = sure.astype(np.float32) @ _worn(events)
    colours /= np.maximum(colours.sum(axis=1, keepdims=True), 1.0)
    return Truth(mass.astype(np.float32), undecided, positives, touched & ~positives, background, colours)


def _worn(events: Events) -> Floats:
    """Named colours of those who act in each event, [E, C]: whoever is acted on does not, unless both do the same."""
    palette = np.arange(len(COLOURS))
    both = (_MUTUAL[events.key] if len(events) else np.zeros(0, bool))[:, None]
    worn = (events.actor[:, None] == palette) | (both & (events.other[:, None] == palette))
    return np.asarray(worn, np.float32)
