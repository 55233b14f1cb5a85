"""Heads that learn from cached items, fold by fold: everything but the heads is computed once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from trainer.data import items
from trainer.data.batches import ClipBatches
from trainer.data.decoded import Size
from trainer.data.items import EncodedClips
from trainer.data.manifest import Clip
from trainer.data.opening import open_clips
from trainer.evaluation.protocols import text_embeddings
from trainer.models.text.templates import TEMPLATES
from trainer.models.video_text import Foundation, VideoTextModel, build
from trainer.progress import Report, counted
from trainer.recipe import Recipe
from trainer.training import allocator
from trainer.training.averaging import Average
from trainer.training.freezing import freeze, frozen_names
from trainer.training.optimiser import build_optimiser
from trainer.training.step import training_step
from trainer.training.tasks import ClipTask, Task

Floats = npt.NDArray[np.float64]


class Batches(Protocol):
    """The batches of a training by the numbers of its steps."""

    def batch(self, step: int) -> Any:
        """That of a step, in the form that the task takes."""
        ...


@dataclass(frozen=True)
class Cached:
    """Clips as the items of a frozen tower, the towers themselves, and texts as they were embedded."""

    recipe: Recipe
    foundation: Foundation
    encoded: EncodedClips
    texts: dict[bytes, Tensor] = field(default_factory=dict)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """[n]: index of each clip's label."""
        return np.array(self.encoded.labels, np.int64)

    @property
    def groups(self) -> list[str]:
        """[n]: the group of each clip."""
        return [clip.group for clip in self.encoded.clips]

    def with_recipe(self, recipe: Recipe) -> Cached:
        """The same items under another recipe for the head."""
        return replace(self, recipe=recipe)


def cached(recipe: Recipe, clips: Sequence[Clip], cache: Path, report: Report) -> Cached:
    """Decode the clips and encode them, unless that was done before, by the recipe's start, rate, size and copies."""
    labels = tuple(sorted({label for clip in clips for label in clip.labels}))
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"labels": labels})})
    foundation = recipe.start.build(())
    model = build(recipe.model, foundation).eval()
    form, data = model.blueprint.form, recipe.data
    size = Size.of(form, data.rate)
    opened = open_clips(clips, labels, cache, size, report, window=recipe.model.frames, max_skipped=data.max_skipped)
    changes = items.Changes(recipe.augment, recipe.items.copies, recipe.seed, labels)
    everything = list(range(len(opened.clips)))
    encoded = items.encode(model, opened, everything, cache, counted(report, "encode files"), changes)
    return Cached(recipe, foundation, encoded)


def fitted(given: Cached, apart: Collection[int], seed: int) -> VideoTextModel:
    """A model whose head learned from all clips but those `apart`."""
    aside = set(apart)
    learn_from = [number not in aside for number in range(len(given.encoded.clips))]

    def task(model: VideoTextModel, recipe: Recipe) -> ClipTask:
        return ClipTask(model, recipe.loss, known=given.texts, backgrounds=recipe.model.backgrounds)

    return learned(given, learn_from, seed, task, ClipBatches)[0]


def learned(
    given: Cached,
    learn_from: Sequence[bool],
    seed: int,
    task_of: Callable[[VideoTextModel, Recipe], Task],
    batches_of: Callable[[Recipe, EncodedClips, Tokenizer], Batches],
) -> tuple[VideoTextModel, Cached]:
    """A model that learned from the clips for which `learn_from` [n] holds, and the clips with that split."""
    allocator.keep()
    recipe = given.recipe.model_copy(update={"seed": seed})
    torch.manual_seed(seed)
    model = build(recipe.model, given.foundation)
    freeze(model, recipe)
    split = tuple(
        replace(clip, split="train" if chosen else "test")
        for clip, chosen in zip(given.encoded.clips, learn_from, strict=True)
    )
    seen = replace(given, encoded=replace(given.encoded, decoded=replace(given.encoded.decoded, clips=split)))
    task = task_of(model, recipe)
    optimiser = build_optimiser(recipe.optimiser, model, task.extra_parameters())
    average = Average(model, recipe.optimiser.average, frozen_names(model))
    batches = batches_of(recipe, seen.encoded, model.tokenizer)
    for step in range(recipe.steps):
        training_step(task, batches.batch(step), optimiser, recipe, step, "cpu")
        average.update(model, step)
    model.load_state_dict({**model.state_dict(), **average.state})
    return model.eval(), seen


@torch.no_grad()
def scores(given: Cached, model: VideoTextModel, chosen: Sequence[int], banks: Sequence[Tensor]) -> list[Floats]:
    """Shares of the labels for some clips, [n, A] for each bank of texts [P, A, D] (`bank`)."""
    recipe = given.recipe
    windows = np.stack([given.encoded.sample(clip, recipe.model.frames, recipe.data.sampling) for clip in chosen])
    items_of = model.items(torch.from_numpy(windows).flatten(0, 1)).view(*windows.shape[:2], -1)
    heads = model.embed_windows(items_of)[0]
    return [_shares(model.scale * heads @ bank.mT) for bank in banks]


def _shares(logits: Tensor) -> Floats:
    return np.asarray(logits.softmax(dim=-1).mean(dim=0).double().numpy())


def bank(given: Cached, texts: Sequence[str]) -> Tensor:
    """Embeddings [P, len(texts), D] of texts in all templates; the text tower is frozen."""
    model = build(given.recipe.model, given.foundation).eval()
    return text_embeddings(model, texts, TEMPLATES)
