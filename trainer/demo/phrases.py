"""Phrases for the actions of the scenes, and the captions composed of them.

A caption is a fact (`Fact`: an action, and perhaps who does it to whom, by the colour of their tops) in words. One fact
has many wordings, and facts share their words. That lets the text tower read captions it never saw.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.models.text.templates import TEMPLATES
from trainer.models.text.texts import BACKGROUNDS, Texts, references_of
from trainer.models.text.word_tokenizer import vocabulary
from trainer.scenes.vocabulary import ACTIONS, BY_KEY, COLOURS, allowed


@dataclass(frozen=True)
class Phrase:
    """Wordings of one action: finite forms, participles, and (for two people) forms with a plural subject.

    `{o}` stands for the other person. An action whose two people do the same is `mutual`.
    """

    finite: tuple[str, ...]
    participle: tuple[str, ...]
    plural: tuple[str, ...] = ()
    plural_participle: tuple[str, ...] = ()

    @property
    def mutual(self) -> bool:
        """Whether either of the two people may be called the one who acts."""
        return bool(self.plural)


PHRASES: dict[str, Phrase] = {
    "walk": Phrase(("walks", "walks along", "is walking"), ("walking", "walking along")),
    "run": Phrase(("runs", "runs fast", "is running"), ("running", "running fast")),
    "fall": Phrase(
        ("falls down", "falls", "falls to the ground", "falls over", "is falling"),
        ("falling down", "falling", "falling to the ground", "falling over"),
    ),
    "sit_down": Phrase(("sits down", "takes a seat", "is sitting down"), ("sitting down", "taking a seat")),
    "stand_up": Phrase(("stands up", "gets up", "is standing up"), ("standing up", "getting up")),
    "jump": Phrase(("jumps", "jumps up", "is jumping"), ("jumping", "jumping up")),
    "wave": Phrase(("waves", "waves a hand", "is waving"), ("waving", "waving a hand")),
    "punch": Phrase(("punches {o}", "hits {o}", "is punching {o}"), ("punching {o}", "hitting {o}")),
    "kick": Phrase(("kicks {o}", "is kicking {o}"), ("kicking {o}",)),
    "hug": Phrase(
        ("hugs {o}", "embraces {o}", "is hugging {o}"),
        ("hugging {o}", "embracing {o}"),
        ("hug", "hug each other", "embrace", "are hugging"),
        ("hugging", "hugging each other", "embracing"),
    ),
    "shake_hands": Phrase(
        ("shakes hands with {o}", "is shaking hands with {o}"),
        ("shaking hands with {o}",),
        ("shake hands", "are shaking hands"),
        ("shaking hands",),
    ),
    "pick_up": Phrase(
        ("picks something up", "picks up something", "picks up an object", "is picking something up"),
        ("picking something up", "picking up an object"),
    ),
    "throw": Phrase(
        ("throws something", "throws an object", "is throwing something"), ("throwing something", "throwing an object")
    ),
    "crouch": Phrase(("crouches", "crouches down", "squats", "is crouching"), ("crouching", "squatting")),
    "climb": Phrase(("climbs", "climbs up", "climbs a ladder", "is climbing"), ("climbing", "climbing a ladder")),
    "lie_still": Phrase(("lies still", "lies on the ground", "is lying still"), ("lying still", "lying on the ground")),
}

_PERSONS = ("a person", "a person", "a person", "someone", "a man", "a woman", "a human")
_OTHERS = ("someone", "another person", "a person", "somebody")
_WEARING = ("{p} in {c}", "{p} in {c}", "{p} wearing {c}", "{p} dressed in {c}", "{p} in a {c} shirt")


@dataclass(frozen=True)
class Fact:
    """What a caption states: the action `key`, and the colours it names (None: it names none)."""

    key: str
    actor: str | None = None
    other: str | None = None

    def matches(self, key: str, actors: Sequence[str | None]) -> bool:
        """Whether an action by people in these colours (who acts comes first) makes the caption true."""
        if key != self.key:
            return False
        orders = [tuple(actors)]
        if PHRASES[key].mutual and len(actors) == 2:
            orders.append((actors[1], actors[0]))
        return any(self._agrees(order) for order in orders)

    def _agrees(self, actors: Sequence[str | None]) -> bool:
        if self.actor is not None and self.actor != actors[0]:
            return False
        return self.other is None or (len(actors) > 1 and self.other == actors[1])


def canonical(fact: Fact) -> str:
    """The plain wording: the shipped label of the action, with colours put in where the fact names them."""
    if fact.actor is None and fact.other is None:
        return BY_KEY[fact.key].label
    phrase = PHRASES[fact.key]
    actor = _person("a person", "{p} in {c}", fact.actor)
    other = _person("a person" if fact.other else "someone", "{p} in {c}", fact.other)
    return f"{actor} {phrase.finite[0].format(o=other)}"


def word(fact: Fact, rng: np.random.Generator) -> str:
    """One of the wordings of `fact`, drawn at random; without a template."""
    phrase = PHRASES[fact.key]
    dressed = _pick(_WEARING, rng)
    actor = _person(_pick(_PERSONS, rng), dressed, fact.actor)
    if phrase.mutual and rng.random() < 0.5:
        return _mutual(fact, phrase, actor, dressed, rng)
    other = _person(_pick(_OTHERS, rng) if fact.other is None else _pick(_PERSONS, rng), dressed, fact.other)
    if rng.random() < 0.55:
        return f"{actor} {_pick(phrase.finite, rng).format(o=other)}"
    action = _pick(phrase.participle, rng).format(o=other)
    return action if fact.actor is None and rng.random() < 0.6 else f"{actor} {action}"


def _mutual(fact: Fact, phrase: Phrase, actor: str, dressed: str, rng: np.random.Generator) -> str:
    form = _pick(phrase.plural if rng.random() < 0.6 else phrase.plural_participle, rng)
    if fact.actor is None and fact.other is None:
        subject = "two people" if rng.random() < 0.8 else "two persons"
        return form if rng.random() < 0.2 else f"{subject} {form}"
    return f"{actor} and {_person('a person', dressed, fact.other)} {form}"


def _person(noun: str, dressed: str, colour: str | None) -> str:
    return noun if colour is None else dressed.format(p=noun, c=colour)


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def plain_wordings(key: str) -> tuple[str, ...]:
    """Other wordings of an action, without colours: finite forms of one subject, and of two where both do the same."""
    phrase = PHRASES[key]
    return (
        *(f"a person {form.format(o='someone')}" for form in phrase.finite),
        *(f"two people {form}" for form in phrase.plural),
    )


def seen_facts() -> tuple[Fact, ...]:
    """Every fact a training caption may state with at most one colour: the held-out pairs are not among them."""
    plain = [Fact(action.key) for action in ACTIONS]
    return (*plain, *(fact for fact in coloured_facts() if allowed(fact.key, fact.actor, "seen")))


def coloured_facts() -> tuple[Fact, ...]:
    """Every pair of an action and the colour of whoever does it, held-out pairs included."""
    return tuple(Fact(action.key, colour) for action in ACTIONS for colour in COLOURS)


def texts() -> Texts:
    """The texts of a model trained on scenes."""
    names = {action.key: canonical(Fact(action.key)) for action in ACTIONS}
    return Texts(
        words=vocabulary(all_wordings()),
        references=references_of(tuple(names.values())),
        wordings=tuple((name, text) for key, name in names.items() for text in plain_wordings(key)),
    )


def all_wordings() -> Iterable[str]:
    """Texts that together use every word of every template, phrase and colour: the source of the vocabulary."""
    return (re.sub(r"\{\w?\}", " ", text) for text in _sources())


def _sources() -> Iterable[str]:
    yield from TEMPLATES
    yield from BACKGROUNDS
    yield from COLOURS
    yield from (action.label for action in ACTIONS)
    yield from (*_PERSONS, *_OTHERS, *_WEARING, "two people", "two persons", "and")
    for phrase in PHRASES.values():
        yield from (*phrase.finite, *phrase.participle, *phrase.plural, *phrase.plural_participle)
