"""ActionCLIP's prompt templates, and the form of the labels that fill them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from trainer.models.text.word_tokenizer import normal

TEMPLATES: tuple[str, ...] = (
    "a photo of action {}",
    "a picture of action {}",
    "Human action of {}",
    "{}, an action",
    "{} this is an action",
    "{}, a video of action",
    "Playing action of {}",
    "{}",
    "Playing a kind of action, {}",
    "Doing a kind of action, {}",
    "Look, the human is {}",
    "Can you recognize the action of {}?",
    "Video classification of {}",
    "A video of {}",
    "The man is {}",
    "The woman is {}",
)
"""The sixteen templates of the ActionCLIP release, in its order."""

BARE = TEMPLATES.index("{}")


def fill(template: str, label: str) -> str:
    """Put a label into a template."""
    return template.replace("{}", label)


def spaced(name: str) -> str:
    """A class name as words: `ApplyEyeMakeup` and `apply_eye_makeup` become `apply eye makeup`."""
    name = " ".join(name.split())
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name).replace("_", " ")
    return " ".join(parted.split()).lower() if parted != name else name


def same_words(labels: Iterable[str]) -> tuple[str, str] | None:
    """Two labels that a model cannot tell apart, because it ignores case; None where all differ."""
    first: dict[str, str] = {}
    for label in labels:
        if first.setdefault(normal(label), label) != label:
            return first[normal(label)], label
    return None
