"""The texts around a model trained from scratch: the words it can read, and what its labels compete with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.models.text.backgrounds import ReferenceText
from trainer.models.text.templates import TEMPLATES, fill
from trainer.models.text.word_tokenizer import vocabulary

BACKGROUNDS: tuple[str, ...] = (
    "nothing happens",
    "an empty scene",
    "people stand around",
    "a person stands still",
    "people talk",
    "nobody does anything",
)
"""Texts for windows in which no label happens. They take no template."""

COMMON_WORDS: tuple[str, ...] = (
    "and another each object on other over somebody someone something to two up with along down fast still",
    "person persons hand hands ground ladder seat shirt dressed in wearing are gets getting takes taking",
    "red blue green yellow orange purple white black",
    "walking walks running runs falling falls sitting sits standing stands lies lying jumping jumps waving waves",
    "punches punching hits hitting kicking kicks hug hugs hugging embrace embraces embracing shake shakes shaking",
    "picking picks throwing throws crouches crouching squats squatting climbing climbs",
)
"""Plain words for people, clothes and movements that every such model knows, whatever its labels.

The size of the vocabulary is part of a model's shape: checkpoints fit only the list they were trained with.
"""


@dataclass(frozen=True)
class Texts:
    """What whoever knows the training data tells a model in words."""

    words: tuple[str, ...]
    """Vocabulary of the word tokenizer, in alphabetical order."""
    references: tuple[ReferenceText, ...]
    """What every label competes with: the background texts, and the names of the trained actions."""
    wordings: tuple[tuple[str, str], ...] = ()
    """Pairs: the name of a trained action, and the same action in other words."""


def texts_of(labels: Sequence[str], templates: Sequence[str] = TEMPLATES, *, backgrounds: Sequence[str] = ()) -> Texts:
    """The texts of a model trained on clips with these labels; other wordings of them are not known.

    backgrounds: texts of what its background shows, beside our own.
    """
    around = (fill(template, " ") for template in dict.fromkeys((*TEMPLATES, *templates)))
    words = vocabulary((*around, *BACKGROUNDS, *COMMON_WORDS, *labels, *backgrounds))
    return Texts(words=words, references=references_of(labels, backgrounds))


def references_of(names: Sequence[str], backgrounds: Sequence[str] = ()) -> tuple[ReferenceText, ...]:
    """The background texts, ours and others, and the names of actions."""
    return (
        *(ReferenceText(text, "background") for text in dict.fromkeys((*BACKGROUNDS, *backgrounds))),
        *(ReferenceText(name, "action") for name in names),
    )
