"""What training asks of its data, whichever they are: texts, a task, batches by step, and the figures of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from engines.bundle.manifest import Input
from trainer.models.text.texts import Texts
from trainer.models.video_text import VideoTextModel
from trainer.progress import Report
from trainer.recipe import Recipe
from trainer.training.tasks import Task

Batches = Callable[[int], Any]
"""The batch of a step, in the form that the source's task takes. Called by several threads at once."""


@dataclass(frozen=True)
class Opened:
    """The data of one recipe, on disk and ready to be read."""

    batches: Callable[[Tokenizer], Batches]
    validate: Callable[[VideoTextModel], dict[str, float]]
    """The figures of a model, rounded."""
    frozen: Callable[[VideoTextModel], Batches] | None = None
    """The batches of the frozen stages, from what the image tower of a model says now; None for sources without."""


@dataclass(frozen=True)
class Source:
    """A kind of training data."""

    complete: Callable[[Recipe], Recipe]
    """Add to a recipe what the data decide, such as labels. Raises RecipeError for data that cannot be read."""
    texts: Callable[[Recipe], Texts]
    """The texts of a complete recipe."""
    task: Callable[[VideoTextModel, Recipe], Task]
    """The task of a complete recipe."""
    open: Callable[[Recipe, Input, Path, Report, bool], Opened]
    """Render or decode the data of a complete recipe into a cache folder, unless they are there already.

    Pictures get the form that the image tower takes. The last argument, `training`, is False where only validation data
    are needed. Raises RecipeError.
    """


def rounded(figures: dict[str, float]) -> dict[str, float]:
    """Figures with the four decimals that a report shows."""
    return {name: round(value, 4) for name, value in figures.items()}
