"""A user's own labelled clips as a source of training."""

from __future__ import annotations

from pathlib import Path

from trainer.data.batches import ClipBatches
from trainer.data.cache import open_clips
from trainer.data.manifest import with_labels
from trainer.errors import RecipeError
from trainer.evaluation.protocols import labelled_report
from trainer.models.text.texts import texts_of
from trainer.progress import Report, counted
from trainer.recipe import Recipe
from trainer.training.source import Opened, Source, rounded
from trainer.training.tasks import ClipTask


def _open(recipe: Recipe, cache: Path, report: Report, training: bool) -> Opened:
    data, labels = recipe.data, recipe.model.labels
    if data.clips is None:
        raise RecipeError(f"recipe {recipe.name!r} names no list of clips; set data.clips")
    clips = open_clips(
        data.clips, labels, cache, data.rate, data.height, data.width,
        counted(report, "decode clips"),
    )  # fmt: skip
    return Opened(
        batches=lambda tokenizer: ClipBatches(recipe, clips, tokenizer).batch,
        validate=lambda model: rounded(labelled_report(model, clips, labels, data.sampling)),
    )


CLIPS = Source(complete=with_labels, texts=lambda recipe: texts_of(recipe.model.labels), task=ClipTask, open=_open)
"""Labels and texts come from the list of clips that `data.clips` names."""
