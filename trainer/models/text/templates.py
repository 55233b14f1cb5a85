"""ActionCLIP's prompt templates, and the form of the labels that fill them."""

from __future__ import annotations

from collections.abc import Iterable

from engines.canonical import words
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


spaced = words
"""The form of a label, whether a list names it in words or as a class."""


def same_words(labels: Iterable[str]) -> tuple[str, str] | None:
    """Two labels that a model cannot tell apart, because it ignores case; None where all differ."""
    first: dict[str, str] = {}
    for label in labels:
        if first.setdefault(normal(label), label) != label:
            return first[normal(label)], label
    return None
