"""Training batches of episodes: examples of some classes, and clips to recognise by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from trainer.data.batches import ClipFrames
from trainer.data.cache import Clips
from trainer.data.episodes import EpisodeSampler
from trainer.data.items import EncodedClips
from trainer.data.manifest import Clip
from trainer.errors import RecipeError
from trainer.models.text.templates import fill
from trainer.models.video_text import token_ids
from trainer.recipe import Recipe


@dataclass(frozen=True)
class EpisodeBatch:
    """One episode of N classes, K supports and Q queries of each."""

    images: npt.NDArray[Any]
    """uint8 [N * (K + Q), T, H, W, 3], RGB: the supports class by class, then the queries; or features [..., F]."""
    shots: int
    """K."""
    classes: npt.NDArray[np.int64]
    """[N]: index of each class among the classes of training."""
    tokens: npt.NDArray[np.int64]
    """[A, P, context]: the classes of training in all templates; the same for every batch."""
    labels: npt.NDArray[np.int64]
    """[A]: the label of each class of training, by its index among all labels."""
    clips: tuple[str, ...]
    """Their names, for messages."""


class EpisodeBatches:
    """Episodes of the training clips, as a function of recipe and step. Thread-safe.

    Raises RecipeError where the clips are too few for an episode.
    """

    def __init__(self, recipe: Recipe, clips: Clips | EncodedClips, tokenizer: Tokenizer):
        if recipe.episodes is None:
            raise RecipeError(f"recipe {recipe.name!r} has no episodes; set `episodes`")
        self._recipe, self._clips = recipe, clips
        self._frames = ClipFrames(recipe, clips)
        self._sampler = EpisodeSampler(
            clips.labels, groups_of(clips.clips), clips.of("train"), recipe.episodes, recipe.seed
        )
        classes = classes_of(clips, "train")
        self._labels = np.array(classes, np.int64)
        self._place = {label: at for at, label in enumerate(classes)}
        self._tokens = in_templates(
            [recipe.model.labels[label] for label in classes], recipe.model.templates.chosen, tokenizer
        )

    def batch(self, step: int) -> EpisodeBatch:
        """The episode of a step."""
        drawn = self._sampler.draw(step)
        rng = np.random.default_rng([self._recipe.seed, step, 1])
        chosen = [*drawn.supports.flat, *drawn.queries.flat]
        images = np.stack([self._frames.of(int(clip), self._recipe.model.frames, rng) for clip in chosen])
        return EpisodeBatch(
            images=images,
            shots=drawn.supports.shape[1],
            tokens=self._tokens,
            labels=self._labels,
            classes=np.array([self._place[int(label)] for label in drawn.classes], np.int64),
            clips=tuple(self._clips.clips[clip].place for clip in chosen),
        )


def in_templates(labels: Sequence[str], templates: Sequence[str], tokenizer: Tokenizer) -> npt.NDArray[np.int64]:
    """Token ids of labels in all templates, [A, P, context]."""
    filled = [fill(template, label) for label in labels for template in templates]
    return token_ids(tokenizer, filled).numpy().reshape(len(labels), len(templates), -1)


def groups_of(clips: Sequence[Clip]) -> list[str]:
    """[n]: the group of each clip; where the list names none, its file."""
    return [clip.group or clip.path for clip in clips]


def classes_of(clips: Clips | EncodedClips, split: str) -> list[int]:
    """The labels, by index and in order, that clips of a split show."""
    return sorted({clips.labels[clip] for clip in clips.of(split)})
