"""What is measured, by which settings, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from trainer.errors import RecipeError
from trainer.evaluation.metrics import ClipScores
from trainer.models.video_text import VideoTextModel
from trainer.progress import Report, silent
from trainer.recipe import Recipe
from trainer.training import best, checkpoint
from trainer.training.blending import blended

Rule = Literal["templates", "averaged", "saliency"]
"""How labels are scored: a softmax per template, one embedding per label, or frames pooled by the words of a label."""


@dataclass(frozen=True)
class Settings:
    """What a person chose beside the protocol."""

    lists: tuple[Path, ...] = ()
    """Lists of clips in place of the run's own; of zero-shot one per official split."""
    views: tuple[int, int] = (10, 3)
    """Views in time, and crops."""
    shots: tuple[int, ...] = (2, 4, 8, 16)
    folds: int = 0
    """How many; 0 for one per group."""
    seeds: tuple[int, ...] = (1,)
    rule: Rule = "templates"
    episodes: int = 10_000


@dataclass(frozen=True)
class Subject:
    """A trained model with the recipe that made it, where decoded clips are kept, and where results go."""

    run: Path
    recipe: Recipe
    model: VideoTextModel
    cache: Path
    device: str = "cpu"
    report: Report = silent


@dataclass(frozen=True)
class Outcome:
    """Figures by name, and the scores they are of where there is one set of them."""

    figures: dict[str, float]
    scores: ClipScores | None = None
    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    """Figures of the parts: folds, splits, numbers of shots."""


def subject(
    run: Path, *, cache: Path | None = None, device: str = "cpu", alpha: float | None = None, report: Report = silent
) -> Subject:
    """A finished run, its towers moved towards its start where `alpha` says so. Raises CheckpointError, RecipeError."""
    model, recipe = checkpoint.load_model(best.chosen(run))
    if recipe.data.clips is None:
        raise RecipeError(
            f"{run} was trained on rendered scenes, which have figures of their own; leave out --protocol"
        )
    if alpha is not None:
        blended(model, recipe, alpha)
    return Subject(run, recipe, model.to(device).eval(), cache or run / "footage", device, report)
