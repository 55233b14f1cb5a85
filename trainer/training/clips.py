"""A user's own labelled clips as a source of training."""

from __future__ import annotations

from pathlib import Path

from engines.bundle.manifest import Input
from trainer.data import items
from trainer.data.batches import ClipBatches
from trainer.data.cache import Clips
from trainer.data.decoded import Size
from trainer.data.items import EncodedClips
from trainer.data.opening import open_clips
from trainer.data.recipe_clips import clips_of, with_labels
from trainer.evaluation.protocols import labelled_report
from trainer.models.text.texts import Texts, texts_of
from trainer.models.video_text import VideoTextModel
from trainer.progress import Report, counted
from trainer.recipe import Recipe
from trainer.training import source
from trainer.training.distributed import mine
from trainer.training.source import Opened, Source, rounded
from trainer.training.tasks import ClipTask


def _open(recipe: Recipe, form: Input, cache: Path, report: Report, training: bool) -> Opened:
    data, labels, frames = recipe.data, recipe.model.labels, recipe.model.frames
    clips = opened(recipe, form, cache, report, between=data.between)

    def frozen(model: VideoTextModel) -> source.Batches:
        encoded = changed_items(model, clips, [*clips.of("train"), *clips.background("train")], recipe, cache, report)
        return ClipBatches(recipe, encoded, model.tokenizer, mine).batch

    def validate(model: VideoTextModel) -> dict[str, float]:
        chosen = clips.of("validate") or clips.of("train")
        seen: Clips | EncodedClips = clips
        if recipe.image_frozen:
            seen = items.encode(model, clips, chosen, cache, counted(report, "encode files"))
        found = labelled_report(model, seen, chosen, labels, data.sampling)
        return rounded(found | clips.figures(frames, data.sampling))

    return Opened(
        batches=lambda tokenizer: ClipBatches(recipe, clips, tokenizer, mine).batch, validate=validate, frozen=frozen
    )


def opened(recipe: Recipe, form: Input, cache: Path, report: Report, *, between: bool) -> Clips:
    """The clips of a recipe, decoded; with the time `between` them as background. Raises RecipeError."""
    data = recipe.data
    return open_clips(
        clips_of(recipe), recipe.model.labels, cache,
        Size.of(form, data.rate), report,
        window=recipe.model.frames, implied=between, max_skipped=data.max_skipped,
    )  # fmt: skip


def changed_items(
    model: VideoTextModel, clips: Clips, chosen: list[int], recipe: Recipe, cache: Path, report: Report
) -> EncodedClips:
    """The items of some clips to train on, and of changed copies of them as the recipe says."""
    changes = items.Changes(recipe.augment, recipe.items.copies, recipe.seed, recipe.model.labels)
    return items.encode(model, clips, chosen, cache, counted(report, "encode files"), changes)


def texts(recipe: Recipe) -> Texts:
    """The texts of a recipe that was completed from its list of clips."""
    return texts_of(recipe.model.labels, recipe.model.templates.chosen, backgrounds=recipe.model.backgrounds)


def _task(model: VideoTextModel, recipe: Recipe) -> ClipTask:
    return ClipTask(model, recipe.loss, backgrounds=recipe.model.backgrounds)


CLIPS = Source(complete=with_labels, texts=texts, task=_task, open=_open)
"""Labels and texts come from the list of clips that `data.clips` names."""
