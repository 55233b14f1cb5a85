"""Actions taught by example on real footage: three classes to learn how to compare, three others to be recognised."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trainer.data.episode_batches import EpisodeBatches, groups_of
from trainer.data.episodes import EpisodeSampler
from trainer.evaluation.episodes import ROWS, Metric, Shown, frame_cosine, measure, tuned
from trainer.models.video_text import VideoTextModel
from trainer.real import heads
from trainer.real.heads import Cached
from trainer.recipe import Episodes, Recipe
from trainer.training.episode_source import shown_of
from trainer.training.episodes import EpisodesTask

FROZEN = "frozen"
"""The row of frame-wise cosines of the tower's own features: what has to be beaten."""
_BASE = 3
_EPISODES = 100


def class_splits(count: int) -> list[tuple[int, ...]]:
    """All ways to choose the classes that are learned from: 20 of six."""
    return list(itertools.combinations(range(count), _BASE))


def as_recipe(recipe: Recipe) -> Recipe:
    """The recipe of a head as one of episodes: three ways, one shot, three queries; it starts as plain cosines."""
    tree = recipe.model_dump(mode="json")
    form = Episodes(ways=_BASE, shots=1, queries=3)
    del tree["data"]["background"]  # episodes show none, and the recipe may
    tree["model"] |= {"head": {"architecture": "meanp"}, "few_shot": {"matching": "whitened", "smoothing": 0.1}}
    tree["stages"] = [{"steps": 100, "chunks": form.clips, "ticks": recipe.model.frames}]
    tree["optimiser"] |= {"rate": 3e-4, "warmup_steps": 20, "average": 0.97}
    return Recipe.model_validate(tree | {"episodes": form.model_dump()})


def learned(given: Cached, base: Sequence[int], seed: int) -> tuple[VideoTextModel, Cached]:
    """A model that learned to compare from the clips of the base classes, and the clips with that split."""
    learn_from = [label in base for label in given.encoded.labels]
    return heads.learned(
        given, learn_from, seed, lambda model, recipe: EpisodesTask(model, recipe.loss), EpisodeBatches
    )


def shown(model: VideoTextModel, given: Cached) -> tuple[Metric, Shown]:
    """What a model learned to compare by, and all clips and texts as it sees them."""
    assert model.few_shot is not None
    metric = Metric(model.few_shot.fitted(), float(model.scale.detach()))
    return metric, shown_of(model, given.encoded, given.recipe, ("train", "test"))


def recognised(metric: Metric, known: Shown, given: Cached, shots: int, seed: int) -> dict[str, float]:
    """Shares of queries recognised among the classes that were never trained, by row; queries of other sequences.

    The ensemble's blend comes from episodes of the base classes.
    """
    form = Episodes(ways=_BASE, shots=shots, queries=1)

    def episodes(split: str) -> EpisodeSampler:
        encoded = given.encoded
        return EpisodeSampler(encoded.labels, groups_of(encoded.clips), encoded.of(split), form, seed)

    blend = tuned(metric, known, episodes("train"), _EPISODES)
    frozen = frame_cosine(_features(given), episodes("test"), _EPISODES)
    return measure(metric, known, episodes("test"), _EPISODES, blend) | {FROZEN: frozen}


def _features(given: Cached) -> Tensor:
    """What the frozen tower says of every clip, [n, T, F], before anything was learned."""
    encoded, recipe = given.encoded, given.recipe
    frames = [encoded.sample(clip, recipe.model.frames, recipe.data.sampling) for clip in range(len(encoded.clips))]
    return torch.from_numpy(np.stack(frames))


def averaged(found: Sequence[dict[str, float]], shots: int) -> dict[str, float]:
    """The figures of several splits and seeds as one, by row."""
    rows = (FROZEN, *ROWS)
    return {f"ut_taught_{shots}_{row}": round(float(np.mean([each[row] for each in found])), 4) for row in rows}
