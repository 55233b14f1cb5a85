"""Training batches of labelled clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from trainer.data.cache import Clips
from trainer.data.items import EncodedClips
from trainer.data.published import change
from trainer.errors import RecipeError
from trainer.models.text.templates import TEMPLATES, fill
from trainer.models.video_text import context_length
from trainer.recipe import Recipe


@dataclass(frozen=True)
class ClipBatch:
    """b clips of T frames, one caption and label index each: tokens [b, context], labels [b]."""

    images: npt.NDArray[Any]
    """uint8 [b, T, H, W, 3]; where the image tower is frozen the features of the frames, float32 [b, T, F]."""
    tokens: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    """-1 for background."""
    background: npt.NDArray[np.bool_]
    """Which clips show none of the labels; their captions do not count."""
    clips: tuple[str, ...]
    """Their names, for messages."""


class ClipBatches:
    """Batches of a user's clips, as a function of recipe and step. Thread-safe.

    Raises RecipeError for a label that is longer than the text tower's context: no bundle could watch for it.
    """

    def __init__(self, recipe: Recipe, clips: Clips | EncodedClips, tokenizer: Tokenizer):
        for label in recipe.model.labels:
            texts = [fill(template, label) for template in TEMPLATES]
            if any(entry.overflowing for entry in tokenizer.encode_batch(texts)):
                raise RecipeError(
                    f"the label {label!r} has more words than the text tower reads "
                    f"({context_length(tokenizer)} tokens, template included); shorten it, or raise the "
                    "context of the start"
                )
        self._recipe = recipe
        self._clips = clips
        self._tokenizer = tokenizer
        self._train = clips.of("train")

    def batch(self, step: int) -> ClipBatch:
        """The batch of a step: clips drawn with replacement, each label in one of the sixteen templates."""
        rng = np.random.default_rng([self._recipe.seed, step])
        (stage, _), model = self._recipe.stage_at(step), self._recipe.model
        frames = model.frames if stage.ticks >= model.frames else 1
        drawn = [self._train[index] for index in rng.integers(len(self._train), size=stage.chunks)]
        sampling = self._recipe.data.sampling
        images = [self._changed(self._clips.sample(clip, frames, sampling, rng), rng) for clip in drawn]
        labels = [self._clips.labels[clip] for clip in drawn]
        templates = rng.integers(len(TEMPLATES), size=len(drawn))
        texts = [
            fill(TEMPLATES[template], model.labels[label]) for template, label in zip(templates, labels, strict=True)
        ]
        tokens = np.array([entry.ids for entry in self._tokenizer.encode_batch(texts)], np.int64)
        return ClipBatch(
            np.stack(images),
            tokens,
            np.array(labels, np.int64),
            np.array(labels, np.int64) < 0,
            tuple(self._clips.names[clip] for clip in drawn),
        )

    def _changed(self, frames: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        """Pictures are changed at random; features were computed of pictures that were."""
        return frames if frames.dtype != np.uint8 else change(frames, self._recipe.augment, rng)
