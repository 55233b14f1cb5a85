"""Episodes: a few classes, a few examples of each to learn from, and other clips to recognise (CLIP-FSAR, section 4.1).

Drawn from labels and groups alone, so that the same seed draws the same episodes whatever the clips hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.errors import RecipeError
from trainer.recipe import Episodes

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Episode:
    """N classes of K supports and Q queries each; everything by index."""

    classes: Indices
    """[N]: index of each class's label."""
    supports: Indices
    """[N, K]: clips to learn the class from."""
    queries: Indices
    """[N, Q]: clips to recognise; none shares a group with a support."""


class EpisodeSampler:
    """Episodes of one form over some clips, as a function of seed and number. Thread-safe."""

    def __init__(self, labels: Sequence[int], groups: Sequence[str], chosen: Sequence[int], form: Episodes, seed: int):
        """`labels` and `groups` [n] of all clips, of which those in `chosen` take part.

        Raises RecipeError for fewer classes than ways, naming the counts, and for a class with too few clips.
        """
        self._groups, self._form, self._seed = list(groups), form, seed
        self._clips: dict[int, list[int]] = {}
        for clip in chosen:
            self._clips.setdefault(labels[clip], []).append(clip)
        needed = form.shots + form.queries
        few = {label: len(clips) for label, clips in self._clips.items() if len(clips) < needed}
        if len(self._clips) < form.ways:
            raise RecipeError(
                f"episodes of {form.ways} classes need as many labels, these clips have {len(self._clips)}; "
                "lower episodes.ways, or add labels"
            )
        if few:
            label, count = min(few.items(), key=lambda entry: (entry[1], entry[0]))
            raise RecipeError(
                f"an episode takes {needed} clips of a class ({form.shots} to learn from, {form.queries} to recognise),"
                f" label {label} has {count}; lower episodes.shots or episodes.queries, or add clips"
            )

    def draw(self, number: int) -> Episode:
        """The episode of a number, from 0. Raises RecipeError where supports and queries cannot be kept apart."""
        rng = np.random.default_rng([self._seed, number])
        classes = rng.choice(sorted(self._clips), self._form.ways, replace=False)
        of_classes = [self._clips[int(label)] for label in classes]
        queries = np.array([rng.choice(clips, self._form.queries, replace=False) for clips in of_classes])
        asked = {self._groups[clip] for clip in queries.flat}
        supports = np.array([self._supports(int(label), queries, asked, rng) for label in classes])
        return Episode(np.asarray(classes, np.int64), supports, queries)

    def _supports(self, label: int, queries: Indices, asked: set[str], rng: np.random.Generator) -> Indices:
        taken = set(queries.flat)
        left = [clip for clip in self._clips[label] if clip not in taken and self._groups[clip] not in asked]
        if len(left) < self._form.shots:
            raise RecipeError(
                f"label {label} has {len(left)} clips outside the groups of an episode's queries, and "
                f"{self._form.shots} are learnt from; lower episodes.queries, or name smaller groups in the list"
            )
        return np.asarray(rng.choice(left, self._form.shots, replace=False), np.int64)
