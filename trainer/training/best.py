"""The validation that a run keeps: the best one so far, or the last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.evaluation import report
from trainer.recipe import Recipe
from trainer.training import checkpoint

NAME = "best.safetensors"
_CLIPS, _EPISODES = "clips_top1", "episodes_ensemble"
"""What decides: right clips among those that were kept apart to validate, never among those of `test`."""


@dataclass
class Best:
    """The best validation of a run; of equals the later one, which has learned for longer."""

    figure: str
    figures: dict[str, float] | None = None

    def offer(self, figures: dict[str, float], save: Callable[[], None]) -> None:
        """Keep a validation, and save its model, unless an earlier one was better."""
        if self.figure in figures and (self.figures is None or figures[self.figure] >= self.figures[self.figure]):
            save()
            self.figures = figures


def best_of(run: Path, recipe: Recipe) -> Best | None:
    """The best of the validations that the log of a run holds; None for recipes that keep the last."""
    if recipe.validate_on.keep == "last":
        return None
    found = Best(_CLIPS if recipe.episodes is None else _EPISODES)
    for _, figures in report.history(run):
        found.offer(figures, lambda: None)
    return found


def chosen(run: Path) -> Path:
    """The checkpoint of a run folder that is exported and measured: the best where one was kept, else the last."""
    return run / NAME if (run / NAME).is_file() else run / checkpoint.NAME
