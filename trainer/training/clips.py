"""A user's own labelled clips as a source of training."""

from __future__ import annotations

from pathlib import Path

from engines.bundle.manifest import Input
from trainer.data import items
from trainer.data.batches import ClipBatches
from trainer.data.cache import open_clips
from trainer.data.manifest import with_labels
from trainer.errors import RecipeError
from trainer.evaluation.protocols import labelled_report
from trainer.models.text.texts import texts_of
from trainer.models.video_text import VideoTextModel
from trainer.progress import Report, counted
from trainer.recipe import Recipe
from trainer.training import source
from trainer.training.source import Opened, Source, rounded
from trainer.training.tasks import ClipTask


def _open(recipe: Recipe, form: Input, cache: Path, report: Report, training: bool) -> Opened:
    data, labels = recipe.data, recipe.model.labels
    if data.clips is None:
        raise RecipeError(f"recipe {recipe.name!r} names no list of clips; set data.clips")
    clips = open_clips(data.clips, labels, cache, data.rate, form, counted(report, "decode clips"))

    def frozen(model: VideoTextModel) -> source.Batches:
        encoded = items.encode(
            model, clips, clips.of("train"), recipe, recipe.items.copies, cache, counted(report, "encode clips")
        )
        return ClipBatches(recipe, encoded, model.tokenizer).batch

    def validate(model: VideoTextModel) -> dict[str, float]:
        measured = clips.of("validate") or clips.of("train")
        if not recipe.image_frozen:
            return rounded(labelled_report(model, clips, measured, labels, data.sampling))
        encoded = items.encode(model, clips, measured, recipe, 0, cache, counted(report, "encode clips"))
        return rounded(labelled_report(model, encoded, measured, labels, data.sampling))

    return Opened(
        batches=lambda tokenizer: ClipBatches(recipe, clips, tokenizer).batch, validate=validate, frozen=frozen
    )


CLIPS = Source(complete=with_labels, texts=lambda recipe: texts_of(recipe.model.labels), task=ClipTask, open=_open)
"""Labels and texts come from the list of clips that `data.clips` names."""
