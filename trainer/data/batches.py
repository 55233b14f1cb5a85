"""Training batches of labelled clips."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from trainer.data.cache import BACKGROUND, Clips
from trainer.data.items import EncodedClips
from trainer.data.published import change
from trainer.data.sides import names_a_side
from trainer.errors import RecipeError
from trainer.models.text.templates import fill
from trainer.models.text.texts import BACKGROUNDS
from trainer.models.video_text import context_length
from trainer.recipe import Recipe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipBatch:
    """b clips of T frames with a caption each."""

    images: npt.NDArray[Any]
    """uint8 [b, T, H, W, 3], RGB; where the image tower is frozen the features of the frames, float32 [b, T, F]."""
    tokens: npt.NDArray[np.int64]
    """The captions, [b, context]: a label in a template, or a background text."""
    labels: npt.NDArray[np.int64]
    """[b]: index of the label in the caption; -1 for background."""
    captions: npt.NDArray[np.int64]
    """[b]: which column of `truth` the caption is."""
    truth: npt.NDArray[np.bool_]
    """[b, C + R + 1]: what is true of the clip: which of the C labels, several or one; of background which of the R
    texts that the user has for it; or else, in the last column, that it is background."""
    clips: tuple[str, ...]
    """[b]: their names, for messages."""

    @property
    def background(self) -> npt.NDArray[np.bool_]:
        """[b]: whether no label happens in the clip."""
        return np.asarray(self.labels == BACKGROUND)

    @property
    def matches(self) -> npt.NDArray[np.bool_]:
        """[b, b]: whether clip i shows what caption j says. A clip of several labels matches the captions of all, and
        background with texts of its own matches those alone.
        """
        return self.truth[:, self.captions]


class ClipFrames:
    """Frames of a clip as training takes them: drawn, and changed at random."""

    def __init__(self, recipe: Recipe, clips: Clips | EncodedClips):
        """Warns of labels whose clips are never mirrored, because they name a side."""
        self._recipe, self._clips = recipe, clips
        sided = [label for label in recipe.model.labels if names_a_side(label)]
        self._sided = frozenset(recipe.model.labels.index(label) for label in sided)
        self._upright = recipe.augment.model_copy(update={"flip": 0.0})
        if sided and recipe.augment.flip:
            log.warning("clips of these labels are not mirrored, because they name a side: %s", ", ".join(sided))

    def of(self, clip: int, frames: int, rng: np.random.Generator) -> npt.NDArray[Any]:
        """Pictures [frames, H, W, 3], changed; or features [frames, F], of pictures changed when they were encoded."""
        shown = self._clips.sample(clip, frames, self._recipe.data.sampling, rng)
        if np.issubdtype(shown.dtype, np.floating):
            return shown
        rules = self._upright if self._clips.label_sets[clip] & self._sided else self._recipe.augment
        return change(np.asarray(shown, np.uint8), rules, rng)


class ClipBatches:
    """Batches of a user's clips, as a function of recipe and step. Thread-safe.

    Raises RecipeError for a label that is longer than the text tower's context: no bundle could watch for it.
    """

    def __init__(
        self, recipe: Recipe, clips: Clips | EncodedClips, tokenizer: Tokenizer,
        rows: Callable[[int], range] = range,
    ):  # fmt: skip
        """`rows`: of a batch of so many clips those that this process takes; by default all."""
        self._templates = recipe.model.templates.chosen
        for label in recipe.model.labels:
            _fits(f"the label {label!r}", [fill(template, label) for template in self._templates], tokenizer)
        for text in recipe.model.backgrounds:
            _fits(f"the text of background {text!r}", [text], tokenizer)
        self._recipe = recipe
        self._rows = rows
        self._clips = clips
        self._tokenizer = tokenizer
        self._frames = ClipFrames(recipe, clips)
        self._columns: dict[int | str, int] = {
            caption: column
            for column, caption in enumerate((*range(len(recipe.model.labels)), *recipe.model.backgrounds, BACKGROUND))
        }
        self._train, self._quiet = clips.of("train"), clips.background("train")

    def batch(self, step: int) -> ClipBatch:
        """The batch of a step: clips drawn with replacement, each label in one of the templates."""
        rng = np.random.default_rng([self._recipe.seed, step])
        stage, _ = self._recipe.stage_at(step)
        frames = self._recipe.model.frames if stage.ticks >= self._recipe.model.frames else 1
        drawn = self._drawn(stage.chunks, rng)
        said = [self._said(clip, rng) for clip in drawn]
        captions = self._captions(said, rng)
        rows = self._rows(len(drawn))
        own = [drawn[row] for row in rows]
        truth = np.zeros((len(own), len(self._columns)), np.bool_)
        for row, clip in enumerate(own):
            truth[row, [self._columns[caption] for caption in self._true_of(clip)]] = True
        return ClipBatch(
            # A generator for each clip: its pictures do not depend on who computes those of the others.
            images=np.stack(
                [
                    self._frames.of(drawn[row], frames, np.random.default_rng([self._recipe.seed, step, row]))
                    for row in rows
                ]
            ),
            tokens=np.array(
                [entry.ids for entry in self._tokenizer.encode_batch([captions[row] for row in rows])], np.int64
            ),
            labels=np.array([BACKGROUND if isinstance(said[row], str) else said[row] for row in rows], np.int64),
            captions=np.array([self._columns[said[row]] for row in rows], np.int64),
            truth=truth,
            clips=tuple(self._clips.clips[clip].place for clip in own),
        )

    def _drawn(self, count: int, rng: np.random.Generator) -> list[int]:
        drawn = [self._train[index] for index in rng.integers(len(self._train), size=count)]
        share = self._recipe.data.background
        if self._quiet and share:
            for number in np.flatnonzero(rng.random(count) < share):
                drawn[number] = self._quiet[rng.integers(len(self._quiet))]
        return drawn

    def _true_of(self, clip: int) -> Collection[int | str]:
        """What a caption may say of a clip: indices of labels; of background its own texts, or BACKGROUND for ours."""
        return self._clips.label_sets[clip] or self._clips.clips[clip].shows or (BACKGROUND,)

    def _said(self, clip: int, rng: np.random.Generator) -> int | str:
        true = sorted(self._clips.label_sets[clip]) or self._true_of(clip)
        return next(iter(true)) if len(true) < 2 else list(true)[rng.integers(len(true))]

    def _captions(self, said: Sequence[int | str], rng: np.random.Generator) -> list[str]:
        templates = rng.integers(len(self._templates), size=len(said))
        return [self._caption(caption, template) for caption, template in zip(said, templates, strict=True)]

    def _caption(self, said: int | str, template: int) -> str:
        if isinstance(said, str):
            return said
        if said == BACKGROUND:
            return BACKGROUNDS[template % len(BACKGROUNDS)]
        return fill(self._templates[template], self._recipe.model.labels[said])


def _fits(what: str, texts: Sequence[str], tokenizer: Tokenizer) -> None:
    if any(entry.overflowing for entry in tokenizer.encode_batch(list(texts))):
        raise RecipeError(
            f"{what} has more words than the text tower reads ({context_length(tokenizer)} tokens, template included); "
            "shorten it, or raise the context of the start"
        )
