"""A user's own labelled clips as a source of training."""

from __future__ import annotations

from pathlib import Path

from trainer.data.batches import ClipBatches
from trainer.data.decoded import Size
from trainer.data.opening import open_clips
from trainer.data.recipe_clips import clips_of, with_labels
from trainer.evaluation.protocols import labelled_report
from trainer.models.text.texts import texts_of
from trainer.progress import Report
from trainer.recipe import Recipe
from trainer.training.source import Opened, Source, rounded
from trainer.training.tasks import ClipTask


def _open(recipe: Recipe, cache: Path, report: Report, training: bool) -> Opened:
    data, model = recipe.data, recipe.model
    size = Size(data.rate, data.height, data.width)
    clips = open_clips(
        clips_of(recipe), model.labels, cache, size, report,
        window=model.frames, implied=data.between, max_skipped=data.max_skipped,
    )  # fmt: skip
    return Opened(
        batches=lambda tokenizer: ClipBatches(recipe, clips, tokenizer).batch,
        validate=lambda model: rounded(
            labelled_report(model, clips, recipe.model.labels, data.sampling)
            | clips.figures(recipe.model.frames, data.sampling)
        ),
    )


CLIPS = Source(complete=with_labels, texts=lambda recipe: texts_of(recipe.model.labels), task=ClipTask, open=_open)
"""Labels and texts come from the list of clips that `data.clips` names."""
