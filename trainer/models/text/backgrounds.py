"""The reference texts that labels compete with in a zero-shot bundle, unless the user brings a list."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from trainer.errors import RecipeError


class ReferenceText(NamedTuple):
    """A text and its kind: a `background` stands as it is, an `action` is put into the templates."""

    text: str
    kind: Literal["background", "action"]


BACKGROUNDS = (
    "an empty scene",
    "an empty street",
    "an empty room",
    "a parking lot without people",
    "a building entrance with nobody in sight",
    "a corridor at night",
    "a dark and blurry picture",
    "cars drive by",
    "trees and bushes in the wind",
    "people stand around",
    "a person stands still",
    "a crowd of people",
)

ACTIONS = (
    "walking",
    "standing and waiting",
    "sitting on a chair",
    "talking to each other",
    "using a phone",
    "carrying a bag",
    "pushing a cart",
    "riding a bicycle",
    "opening a door",
    "entering a building",
    "getting into a car",
    "working at a desk",
    "cleaning the floor",
    "eating and drinking",
    "reading",
    "looking around",
    "running",
    "playing with a ball",
)
"""Everyday activities: a label is seen only where it beats them."""

DEFAULTS: tuple[ReferenceText, ...] = (
    *(ReferenceText(text, "background") for text in BACKGROUNDS),
    *(ReferenceText(text, "action") for text in ACTIONS),
)


def read(path: Path) -> tuple[ReferenceText, ...]:
    """The texts of a file: one a line, `background: ` before those that take no template, `#` for remarks.

    Raises RecipeError when the file cannot be read, holds no text or one twice.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"the reference texts in {path} cannot be read ({error}); give a UTF-8 text file") from error
    texts = tuple(_parse(line.strip()) for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if not texts:
        raise RecipeError(f"{path} holds no reference text; write one a line")
    seen = [text.text for text in texts]
    if twice := sorted({text for text in seen if seen.count(text) > 1}):
        raise RecipeError(f"{path} holds {twice[0]!r} twice; leave one")
    return texts


def _parse(line: str) -> ReferenceText:
    kind, colon, text = line.partition(":")
    if colon and kind.strip() == "background":
        return ReferenceText(text.strip(), "background")
    return ReferenceText(line.removeprefix("action:").strip(), "action")
