"""What is said of an event or of a stretch without one: action, clothing, both people where two act.

A caption is text with the action and the colours it names, so that a loss can tell which texts fit which clips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.scenes.picture.things import car_way
from trainer.scenes.stage import Event, Scene
from trainer.scenes.vocabulary import BY_KEY, KEYS

Rng = np.random.Generator


@dataclass(frozen=True)
class Caption:
    """A text, the action it names (None: background) and the colours of who acts and who is acted on, where named."""

    text: str
    key: str | None
    colours: tuple[str | None, ...] = ()


_WHO: tuple[str, ...] = ("a person", "a person", "someone", "a pedestrian")
_CLOTHED: tuple[str, ...] = (
    "a person in {}",
    "a person in {}",
    "someone in {}",
    "a person in a {} shirt",
    "a person wearing {}",
)
_VERBS: dict[str, tuple[str, ...]] = {
    "walk": ("walks", "walks", "is walking"),
    "run": ("runs", "runs", "is running"),
    "fall": ("falls down", "falls down", "falls to the ground", "falls"),
    "sit_down": ("sits down", "sits down", "takes a seat"),
    "stand_up": ("stands up", "stands up", "gets up"),
    "jump": ("jumps", "jumps", "is jumping"),
    "wave": ("waves", "waves", "waves a hand", "is waving"),
    "pick_up": ("picks something up", "picks something up", "picks up an object"),
    "throw": ("throws something", "throws something", "throws an object"),
    "crouch": ("crouches", "crouches", "crouches down"),
    "climb": ("climbs", "climbs", "climbs a ladder", "is climbing"),
    "lie_still": ("lies still", "lies still", "lies on the ground", "lies on the ground without moving"),
}
_TOWARDS: dict[str, tuple[str, ...]] = {
    "punch": ("punches", "punches", "hits"),
    "kick": ("kicks", "kicks", "is kicking"),
    "hug": ("hugs", "hugs", "embraces"),
    "shake_hands": ("shakes hands with", "shakes hands with"),
}
_BOTH: dict[str, tuple[str, ...]] = {
    "hug": ("two people hug", "two people hug", "two people hug each other", "two people embrace"),
    "shake_hands": ("two people shake hands", "two people shake hands", "people shake hands"),
}
_EMPTY: tuple[str, ...] = ("an empty {}", "nobody is there", "nothing happens", "an empty scene")
_PEOPLE: tuple[str, ...] = (
    "people standing around", "nothing happens", "people stand in a {}", "people doing nothing of interest",
    "people standing and talking", "an ordinary {}",
)  # fmt: skip
_PERSON: tuple[str, ...] = (
    "a person stands still",
    "someone stands and looks around",
    "nothing happens",
    "a person waits in a {}",
    "a person standing around",
)
BACKGROUND: tuple[str, ...] = tuple(
    dict.fromkeys(text for text in (*_EMPTY, *_PEOPLE, *_PERSON, "a car passes by") if "{}" not in text)
)


def canonical(key: str, colours: tuple[str | None, ...] = ()) -> str:
    """The plain caption of an action with the named colours: "a person in red punches a person in blue"."""
    first = f"a person in {colours[0]}" if colours and colours[0] else None
    second = f"a person in {colours[1]}" if len(colours) > 1 and colours[1] else None
    if first is None and second is None:
        return BY_KEY[key].label
    if key in _TOWARDS:
        other = second or ("someone" if key in ("punch", "kick") else "another person")
        return f"{first or 'a person'} {_TOWARDS[key][0]} {other}"
    return f"{first} {_VERBS[key][0]}"


def _one(rng: Rng, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def _who(rng: Rng, colour: str | None, otherwise: tuple[str, ...]) -> str:
    return _one(rng, _CLOTHED).format(colour) if colour else _one(rng, otherwise)


def captions(event: Event, rng: Rng, count: int = 1, *, colour_share: float = 0.5) -> list[Caption]:
    """`count` captions of an event; a share of them names the colour of whoever acts (where it has a name)."""
    found = []
    for _ in range(count):
        named: list[str | None] = [colour if rng.random() < colour_share else None for colour in event.actors]
        if event.key in _BOTH and not any(named):
            found.append(Caption(_one(rng, _BOTH[event.key]), event.key))
            continue
        who = _who(rng, named[0], _WHO)
        if len(named) == 1:
            text = f"{who} {_one(rng, _VERBS[event.key])}"
        else:
            whom = _who(rng, named[1], ("someone", "another person"))
            if event.key in _BOTH and rng.random() < 0.5:  # either may be named first
                named, who, whom = (
                    [named[1], named[0]],
                    _who(rng, named[1], _WHO),
                    _who(rng, named[0], ("another person",)),
                )
            text = f"{who} {_one(rng, _TOWARDS[event.key])} {whom}"
        found.append(Caption(text, event.key, tuple(named)))
    return found


def background_captions(scene: Scene, rng: Rng, count: int = 1, *, at: float | None = None) -> list[Caption]:
    """`count` captions of a stretch of a scene (around the instant `at`, by default its middle) without an action."""
    instant = 0.5 * scene.seconds if at is None else at
    there = sum(
        any(segment.motion != "away" and segment.start <= instant < segment.end for segment in person.segments)
        for person in scene.people
    )
    options = _EMPTY if there == 0 else _PERSON if there == 1 else _PEOPLE
    if any(thing.kind == "car" and abs(car_way(thing, instant)) < 3.0 for thing in scene.things):
        options = ("a car passes by", "a car drives past", *options[:1])
    return [Caption(_one(rng, options).format(scene.place), None) for _ in range(count)]


def all_captions() -> list[Caption]:
    """The plain caption of every action, without and with each single colour: 16 + 128 texts, for evaluation."""
    from trainer.scenes.vocabulary import COLOURS

    plain = [Caption(canonical(key), key) for key in KEYS]
    return plain + [Caption(canonical(key, (colour,)), key, (colour,)) for key in KEYS for colour in COLOURS]
