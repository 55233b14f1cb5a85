"""Training batches of rendered footage, as a function of recipe and step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from trainer.data.published import change
from trainer.demo import phrases, targets
from trainer.demo.footage import Footage, Stretch
from trainer.demo.phrases import Fact
from trainer.models.text.templates import BARE, TEMPLATES, fill
from trainer.models.text.texts import BACKGROUNDS
from trainer.recipe import Recipe, Stage, Targets
from trainer.scenes.vocabulary import COLOURS, KEYS, allowed

_CANONICAL = 0.35  # share of the captions in their plain wording
_DOUBLE = 24  # captions per batch that name both people


@dataclass(frozen=True)
class Batch:
    """b stretches of c frames; n windows each; F facts, R background texts, A actions, C colours.

    See `targets.Truth`. A stage without texts has no tokens and no facts.
    """

    images: npt.NDArray[Any]
    """[b, c, H, W, 3]; in a frozen stage the items of the frames, float16 [b, c, D]."""
    frames: int
    """Items per window: the model's, or 1 in a stage of single frames."""
    tokens: npt.NDArray[np.int64]
    """Captions of the facts and then the background texts, [F + R, context]. The first A facts name no colour."""
    mass: npt.NDArray[np.float32]
    undecided: npt.NDArray[np.bool_]
    positives: npt.NDArray[np.bool_]
    open: npt.NDArray[np.bool_]
    background: npt.NDArray[np.bool_]
    frame_mass: npt.NDArray[np.float32]
    """What every single frame shows, [b, c, A + 1]."""
    frame_colours: npt.NDArray[np.float32]
    """In which colours, [b, c, C]."""


@dataclass(frozen=True)
class _Piece:
    """A stretch and the footage that holds its pictures."""

    footage: Footage
    stretch: Stretch


class Batches:
    """The batches of a recipe over given footage. Thread-safe: every batch has its own random numbers."""

    def __init__(self, recipe: Recipe, footage: Sequence[Footage], tokenizer: Tokenizer):
        self._recipe = recipe
        self._tokenizer = tokenizer
        self._facts = phrases.seen_facts()
        self._single = recipe.targets.model_copy(update={"first": 0, "last": 0})
        self._stretches = [_Piece(part, stretch) for part in footage for stretch in part.stretches]
        self._frames = np.cumsum([piece.stretch.ticks for piece in self._stretches])
        self._by_key: list[list[tuple[_Piece, float, float]]] = [[] for _ in KEYS]
        for piece in self._stretches:
            for key, start, end, _ in piece.stretch.rows:
                self._by_key[KEYS.index(key)].append((piece, start, end))

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all stages."""
        rng = np.random.default_rng([self._recipe.seed, step])
        stage, _ = self._recipe.stage_at(step)
        frames = self._recipe.model.frames if stage.ticks >= self._recipe.model.frames else 1
        drawn = [self._draw(stage, rng) for _ in range(stage.chunks)]
        facts = (*self._facts, *self._double(drawn, stage.ticks, rng)) if stage.texts else ()
        if frames > 1:
            truths = _truths(drawn, stage.ticks, frames, facts, self._recipe.targets)
            shown = _truths(drawn, stage.ticks, 1, (), self._single)
        else:
            truths = shown = _truths(drawn, stage.ticks, 1, facts, self._single)
        images = [
            pictures if self._recipe.draws_items(stage) else change(pictures, self._recipe.augment, rng)
            for pictures in (piece.footage.pictures(piece.stretch, tick, stage.ticks) for piece, tick in drawn)
        ]
        return Batch(
            images=np.stack(images),
            frames=frames,
            tokens=self._tokens(facts, rng) if stage.texts else np.zeros((0, 0), np.int64),
            mass=np.stack([truth.mass for truth in truths]),
            undecided=np.stack([truth.undecided for truth in truths]),
            positives=np.stack([truth.positives for truth in truths]),
            open=np.stack([truth.open for truth in truths]),
            background=np.stack([truth.background for truth in truths]),
            frame_mass=np.stack([truth.mass for truth in shown]),
            frame_colours=np.stack([truth.colours for truth in shown]),
        )

    def _draw(self, stage: Stage, rng: np.random.Generator) -> tuple[_Piece, int]:
        ticks = stage.ticks
        choices = self._by_key[int(rng.integers(len(KEYS)))] if rng.random() < stage.balanced else []
        if not choices:
            piece = self._stretches[int(np.searchsorted(self._frames, rng.integers(self._frames[-1]), "right"))]
            return piece, int(rng.integers(piece.stretch.ticks - ticks + 1))
        piece, start, end = choices[int(rng.integers(len(choices)))]
        stretch = piece.stretch
        # The event lies anywhere in the stretch, so that some windows see it begin and others see it end.
        tick = round(rng.uniform(start, end) * stretch.rate - stretch.phase) - int(rng.integers(ticks))
        return piece, min(max(tick, 0), stretch.ticks - ticks)

    def _double(self, drawn: list[tuple[_Piece, int]], ticks: int, rng: np.random.Generator) -> list[Fact]:
        """Facts that name both people: true ones of this batch, and false ones that differ in a colour."""
        pairs = [
            (key, who)
            for piece, tick in drawn
            for key, start, end, who in piece.stretch.rows
            if len(who) == 2
            and None not in who
            and end > tick / piece.stretch.rate
            and start < (tick + ticks) / piece.stretch.rate
        ]
        names = list(COLOURS)
        two = [key for key in KEYS if len(phrases.PHRASES[key].finite) and "{o}" in phrases.PHRASES[key].finite[0]]
        facts: list[Fact] = []
        while len(facts) < _DOUBLE:
            if pairs and rng.random() < 0.8:
                key, (actor, other) = pairs[int(rng.integers(len(pairs)))]
                change = rng.random()
                actor = names[int(rng.integers(len(names)))] if change < 0.25 else actor
                other = names[int(rng.integers(len(names)))] if change > 0.75 else other
            else:
                key = two[int(rng.integers(len(two)))]
                actor, other = (names[int(index)] for index in rng.integers(len(names), size=2))
            if allowed(key, actor, "seen"):
                facts.append(Fact(key, actor, other if rng.random() < 0.85 else None))
        return facts

    def _tokens(self, facts: tuple[Fact, ...], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        texts = []
        for fact in facts:
            words = phrases.canonical(fact) if rng.random() < _CANONICAL else phrases.word(fact, rng)
            which = BARE if rng.random() < 0.5 else int(rng.integers(len(TEMPLATES)))
            texts.append(fill(TEMPLATES[which], words))
        texts.extend(BACKGROUNDS)
        return np.array([entry.ids for entry in self._tokenizer.encode_batch(texts)], np.int64)


def _truths(
    drawn: list[tuple[_Piece, int]], ticks: int, frames: int, facts: tuple[Fact, ...], rules: Targets
) -> list[targets.Truth]:
    """What is true of all windows of `frames` items in each stretch of `ticks` frames."""
    return [
        targets.describe(
            piece.stretch.seconds(np.arange(tick + frames - 1, tick + ticks)),
            frames,
            piece.stretch.rate,
            piece.stretch.events,
            facts,
            rules,
        )
        for piece, tick in drawn
    ]
