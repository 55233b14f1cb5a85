"""Training batches as a function of recipe and step: which stretches, how they are changed, what is true of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from trainer import augment, prompts, targets
from trainer.config import Recipe, Stage
from trainer.footage import Footage, Stretch
from trainer.prompts import Fact
from trainer.scenes.vocabulary import COLOURS, KEYS, allowed

Made = TypeVar("Made")

_BALANCED = 0.5  # share of the stretches that are drawn around an event of a uniformly drawn action
_CANONICAL = 0.35  # share of the captions in their plain wording
_DOUBLE = 24  # captions per batch that name both people


@dataclass(frozen=True)
class Batch:
    """b stretches of c frames; n windows each; F facts, R background texts, A actions. See `targets.Truth`."""

    images: npt.NDArray[np.uint8]
    """[b, c, H, W, 3]."""
    frames: int
    """Items per window: the model's, or 1 in a stage of single frames."""
    tokens: npt.NDArray[np.int64]
    """Captions of the facts and then the background texts, [F + R, context]. The first A facts name no colour."""
    mass: npt.NDArray[np.float32]
    undecided: npt.NDArray[np.bool_]
    positives: npt.NDArray[np.bool_]
    open: npt.NDArray[np.bool_]
    background: npt.NDArray[np.bool_]


class Batches:
    """The batches of a recipe over given footage. Thread-safe: every batch has its own random numbers."""

    def __init__(self, recipe: Recipe, footage: Footage, tokenizer: Tokenizer):
        self._recipe = recipe
        self._footage = footage
        self._tokenizer = tokenizer
        self._facts = prompts.seen_facts()
        self._by_key: list[list[tuple[Stretch, float]]] = [[] for _ in KEYS]
        for stretch in footage.stretches:
            for key, start, end, _ in stretch.rows:
                self._by_key[KEYS.index(key)].append((stretch, 0.5 * (start + end)))

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all stages."""
        rng = np.random.default_rng([self._recipe.seed, step])
        stage = stage_of(self._recipe, step)
        frames = self._recipe.model.frames if stage.ticks >= self._recipe.model.frames else 1
        drawn = [self._draw(stage.ticks, rng) for _ in range(stage.chunks)]
        facts = (*self._facts, *self._double(drawn, stage.ticks, rng))
        rules = self._recipe.targets if frames > 1 else self._recipe.targets.model_copy(update={"first": 0, "last": 0})
        truths = [
            targets.describe(
                stretch.seconds(np.arange(tick + frames - 1, tick + stage.ticks)),
                frames,
                stretch.rate,
                stretch.events,
                facts,
                rules,
            )
            for stretch, tick in drawn
        ]
        images = [
            augment.augment(self._footage.pictures(stretch, tick, stage.ticks), self._recipe.augment, rng)
            for stretch, tick in drawn
        ]
        return Batch(
            images=np.stack(images),
            frames=frames,
            tokens=self._tokens(facts, rng),
            mass=np.stack([truth.mass for truth in truths]),
            undecided=np.stack([truth.undecided for truth in truths]),
            positives=np.stack([truth.positives for truth in truths]),
            open=np.stack([truth.open for truth in truths]),
            background=np.stack([truth.background for truth in truths]),
        )

    def _draw(self, ticks: int, rng: np.random.Generator) -> tuple[Stretch, int]:
        choices = self._by_key[int(rng.integers(len(KEYS)))] if rng.random() < _BALANCED else []
        if not choices:
            stretch = self._footage.stretches[int(rng.integers(len(self._footage.stretches)))]
            return stretch, int(rng.integers(stretch.ticks - ticks + 1))
        stretch, middle = choices[int(rng.integers(len(choices)))]
        # Somewhere between "the event is just over" and "it has just begun".
        tick = int(middle * stretch.rate - stretch.phase) - int(rng.integers(ticks))
        return stretch, min(max(tick, 0), stretch.ticks - ticks)

    def _double(self, drawn: list[tuple[Stretch, int]], ticks: int, rng: np.random.Generator) -> list[Fact]:
        """Captions that name both people: true ones of this batch, and false ones that differ in a colour."""
        pairs = [
            (key, who)
            for stretch, tick in drawn
            for key, start, end, who in stretch.rows
            if len(who) == 2 and None not in who and end > tick / stretch.rate and start < (tick + ticks) / stretch.rate
        ]
        names = list(COLOURS)
        two = [key for key in KEYS if len(prompts.PHRASES[key].finite) and "{o}" in prompts.PHRASES[key].finite[0]]
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
            words = prompts.canonical(fact) if rng.random() < _CANONICAL else prompts.word(fact, rng)
            which = prompts.BARE if rng.random() < 0.5 else int(rng.integers(len(prompts.TEMPLATES)))
            texts.append(prompts.fill(prompts.TEMPLATES[which], words))
        texts.extend(prompts.BACKGROUNDS)
        return np.array([entry.ids for entry in self._tokenizer.encode_batch(texts)], np.int64)


def stage_of(recipe: Recipe, step: int) -> Stage:
    """The stage that a step belongs to; the last one for steps beyond the end."""
    for stage in recipe.stages:
        if step < stage.steps:
            return stage
        step -= stage.steps
    return recipe.stages[-1]


def ahead(make: Callable[[int], Made], first: int, last: int, workers: int) -> Iterator[Made]:
    """The batches of the steps first to last - 1, in order, made `workers` at a time by threads."""
    augment.single_threaded()
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Made]] = deque()
        for step in range(first, last):
            waiting.append(pool.submit(make, step))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
