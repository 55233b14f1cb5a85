"""Rendered scenes as a source of training: streams and clips of people whose actions are known exactly."""

from __future__ import annotations

from pathlib import Path

from engines.bundle.manifest import Input
from trainer.demo import phrases
from trainer.demo.batches import Batches
from trainer.demo.encoded_footage import encode
from trainer.demo.figures import report_of
from trainer.demo.footage import open_footage
from trainer.demo.plans import plans
from trainer.demo.task import SceneTask
from trainer.models.text.texts import Texts, texts_of
from trainer.models.video_text import VideoTextModel
from trainer.progress import Report, counted
from trainer.recipe import Recipe
from trainer.training import source
from trainer.training.source import Opened, Source, rounded


def _texts(recipe: Recipe) -> Texts:
    return texts_of(recipe.model.labels) if recipe.model.labels else phrases.texts()


def _task(model: VideoTextModel, recipe: Recipe) -> SceneTask:
    return SceneTask(model, recipe.loss)


def _open(recipe: Recipe, form: Input, cache: Path, report: Report, training: bool) -> Opened:
    footage = {
        name: open_footage(cache, plan, counted(report, f"render {name}"))
        for name, plan in plans(recipe, form).items()
        if training or not name.startswith("train")
    }
    parts = [part for name, part in footage.items() if name.startswith("train")]
    most = max((stage.items for stage in recipe.stages if recipe.draws_items(stage)), default=0)

    def frozen(model: VideoTextModel) -> source.Batches:
        encoded = [encode(model, part, most, counted(report, "encode")) for part in parts]
        return Batches(recipe, encoded, model.tokenizer).batch

    return Opened(
        batches=lambda tokenizer: Batches(recipe, parts, tokenizer).batch,
        validate=lambda model: rounded(report_of(recipe, model, footage)),
        frozen=frozen,
    )


SCENES = Source(complete=lambda recipe: recipe, texts=_texts, task=_task, open=_open)
"""What is rendered follows from the recipe alone (`trainer.demo.plans`)."""
