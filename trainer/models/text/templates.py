"""ActionCLIP's prompt templates, and the form of the labels that fill them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, model_validator

from engines.canonical import words
from trainer.models.text.word_tokenizer import normal
from trainer.recipes.part import Part

Kind = Literal["bare", "prefix", "cloze", "suffix"]
"""Where the label stands: alone, first, inside, last."""

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


def kind_of(template: str) -> Kind:
    """Where the label stands in a template. Raises ValueError for one without exactly one place for it."""
    if template.count("{}") != 1:
        raise ValueError(f"the template {template!r} needs exactly one {{}}, where the label goes")
    before, after = (part.strip() for part in template.split("{}"))
    if not before:
        return "prefix" if after else "bare"
    return "cloze" if after else "suffix"


class Templates(Part):
    """The sentences around the labels, while training and in the bundle."""

    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] = ("bare", "prefix", "cloze", "suffix")
    """Which of the templates are used, by where the label stands."""
    own: tuple[str, ...] = ()
    """Templates in place of ActionCLIP's sixteen, each with one {}."""

    @property
    def chosen(self) -> tuple[str, ...]:
        """The templates, in their order."""
        return tuple(template for template in self.own or TEMPLATES if kind_of(template) in self.kinds)

    @model_validator(mode="after")
    def _some(self) -> Templates:
        if not self.chosen:
            raise ValueError(f"no template is of the kinds {', '.join(self.kinds)}; choose other kinds")
        if len(set(self.own)) < len(self.own):
            raise ValueError("a template of your own stands twice; each counts once")
        return self


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
