"""What a recipe trains on and is measured by: rendered scenes, or a user's own labelled clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from trainer.calibration.detection import Tally
from trainer.calibration.threshold_search import fit
from trainer.data.batches import ClipBatches
from trainer.data.cache import open_clips
from trainer.demo import figures
from trainer.demo.batches import Batches
from trainer.demo.footage import Footage, open_footage
from trainer.demo.plans import plans
from trainer.demo.task import Task
from trainer.evaluation import protocols
from trainer.models.video_text import VideoTextModel
from trainer.recipe import Recipe
from trainer.scenes.vocabulary import KEYS
from trainer.training.encoded_footage import encode
from trainer.training.tasks import ClipTask

Report = Callable[[str, int, int, str], None]
"""Told (what, done, of how many, a word on how it goes)."""


def silent(what: str, done: int, of: int, note: str) -> None:
    """A report that nobody reads."""


@dataclass(frozen=True)
class Course:
    """The task (made of a model and the weights of the losses), the batches by step, and the figures of a model."""

    task: Callable[..., nn.Module]
    batches: Callable[[Tokenizer], Callable[[int], Any]]
    validate: Callable[[VideoTextModel], dict[str, float]]
    frozen: Callable[[VideoTextModel], Callable[[int], Any]] | None = None
    """The batches by step of the frozen stages, from items of a model as it is now; None where no recipe has any."""


def open_course(recipe: Recipe, cache: Path, report: Report = silent, *, training: bool = True) -> Course:
    """Render footage or decode clips into `cache` where it does not lie there. Without `training` what measuring needs.

    Raises RecipeError for clips that cannot be read.
    """
    data = recipe.data
    if data.clips is not None:
        labels = recipe.model.labels
        clips = open_clips(
            data.clips, labels, cache, data.rate, data.height, data.width,
            lambda done, of: report("decode clips", done, of, ""),
        )  # fmt: skip
        return Course(
            task=ClipTask,
            batches=lambda tokenizer: ClipBatches(recipe, clips, tokenizer).batch,
            validate=lambda model: _rounded(protocols.labelled_report(model, clips, labels, data.sampling)),
        )
    footage = {
        name: open_footage(cache, plan, partial(_told, report, f"render {name}"))
        for name, plan in plans(recipe).items()
        if training or not name.startswith("train")
    }
    parts = [part for name, part in footage.items() if name.startswith("train")]
    most = max((stage.items for stage in recipe.stages if stage.frozen), default=0)

    def frozen(model: VideoTextModel) -> Callable[[int], Any]:
        encoded = [encode(model, part, most, lambda done, of: report("encode", done, of, "")) for part in parts]
        return Batches(recipe, encoded, model.tokenizer).batch

    return Course(
        task=Task,
        batches=lambda tokenizer: Batches(recipe, parts, tokenizer).batch,
        validate=lambda model: _rounded(_validate(recipe, model, footage)),
        frozen=frozen,
    )


def _told(report: Report, what: str, done: int, of: int) -> None:
    report(what, done, of, "")


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


def _validate(recipe: Recipe, model: VideoTextModel, footage: dict[str, Footage]) -> dict[str, float]:
    """A model's numbers: top-1 over clips, and event F1 with thresholds fitted on the other half of the streams."""
    result = {
        f"{name}_{key}": value
        for name in ("seen", "unseen")
        for key, value in figures.clip_report(model, footage[name], recipe.targets).items()
    }
    series = figures.stream_series(model, footage["streams"])
    halves = series[0::2], series[1::2]
    rate, rules = recipe.data.rate, recipe.targets
    lag = (rules.last + 0.5 * (recipe.model.frames - rules.first - rules.last)) / rate
    fits = [fit(half, rate, lag=lag, window=recipe.model.frames / rate) for half in halves]
    crossed = [fits[0].tallies(halves[1], rate), fits[1].tallies(halves[0], rate)]
    by_label = [one + other for one, other in zip(*crossed, strict=True)]
    total = sum(by_label, Tally())
    result |= {f"f1_{key}": tally.f1 for key, tally in zip(KEYS, by_label, strict=True)}
    result["event_f1"] = total.f1
    result["top8_f1"] = _pooled(sorted(by_label, key=lambda tally: -tally.f1)[:8])
    if total.delays:  # else there is none, and NaN is no JSON
        result["onset_delay_median_s"] = float(torch.tensor(total.delays).median())
    result["onset_lag_s"], result["offset_lag_s"] = fits[0].onset_lag, fits[0].offset_lag
    return result


def _pooled(tallies: list[Tally]) -> float:
    return sum(tallies, Tally()).f1
