"""Windows against the examples of an action: distances, and the probability that they make. No torch.

    p_examples = share of exp(-d / tau) of the nearest example, among the nearest example, the nearest of what the label
                 is not, and what stands for everything else
    logit p    = beta * logit p_text + (1 - beta) * logit p_examples            (CLIP-FSAR, arXiv 2303.02982)

For everything else stand the prototypes of classes that the bundle was trained on. A bundle without such has no
picture of anything, and a text is further from every picture than any two pictures are: there a fixed distance stands
for it (`ExampleRule.elsewhere`).

A distance never depends on its company: the vectors of a window are compared in products of a form that never changes
(`engines.text.similarity`), and everything after that takes numbers one by one. So the examples of a label change no
other label's scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from engines.text.alignment import aligned

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Product: TypeAlias = Callable[[Floats], Floats]
"""Cosines of unit vectors [n, D] with some others, float32 [n, t]; of each pair alone, whatever else is in the call."""

_SMALLEST = 1e-6
"""A probability as it was computed in single precision may be 0 or 1, whose logit is no number."""


@dataclass(frozen=True, slots=True)
class ExampleRule:
    """How a bundle turns distances into probabilities."""

    matching: Literal["frame-wise", "alignment"] = "frame-wise"
    """`frame-wise`: mean of 1 - cosine of vectors at the same place, from 0 to 2. `alignment`: OTAM in both directions
    (`engines.text.alignment`), which needs no equal pace."""
    smoothing: float = 0.5
    """lambda of the alignment's soft minimum."""
    temperature: float = 0.04
    """tau: a distance larger by this much counts e times less."""
    elsewhere: float = 0.3
    """Distance of everything else, where the bundle has no reference prototypes."""
    beta: float = 0.1
    """Weight of the text: 1 is the text alone, 0 the examples alone.

    A little, since who shows an action often has no words for it: on rendered cameras 0.1 gains with the right words
    and costs little with wrong ones, while at 0.5 wrong words veto every example.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Prototypes:
    """What windows are compared with for one label. float32 [n, T', D], each of the T' vectors L2-normalised."""

    positives: Floats
    """At least one."""
    negatives: Floats
    """What the label is not; may be none."""


@dataclass(frozen=True, slots=True, eq=False)
class ExampleScorer:
    """Examples of some labels prepared for scoring. Immutable."""

    rule: ExampleRule
    shape: tuple[int, int, int]
    """Prototypes, T', D."""
    products: tuple[Product, ...]
    """Frame-wise: for each place of a sequence, with the vectors there. Alignment: one, with all vectors."""
    positives: npt.NDArray[np.intp]
    """[L, most]: which prototypes are a label's own; the first again where it has fewer."""
    negatives: npt.NDArray[np.intp]
    """[L, most]: which ones it is not; -1 where it has fewer."""
    references: npt.NDArray[np.intp]
    """Those of the bundle."""


def prepare(
    labels: Sequence[Prototypes], references: Floats, rule: ExampleRule, product: Callable[[Floats], Product]
) -> ExampleScorer:
    """Prepare the examples of labels, at least one, for scoring.

    references: float32 [R, T', D], R >= 0, of the bundle. product: makes the product with unit vectors [t, D].
    Raises ValueError where the shapes do not fit each other or a label has no example.
    """
    form = labels[0].positives.shape[1:]
    parts = [references, *(part for label in labels for part in (label.positives, label.negatives))]
    if any(part.ndim != 3 or (len(part) and part.shape[1:] != form) for part in parts):
        raise ValueError(f"prototypes of shapes {[part.shape for part in parts]} do not fit each other")
    if not all(len(label.positives) for label in labels):
        raise ValueError("a label has no example")
    ends = np.cumsum([len(part) for part in parts])
    own = [list(range(ends[number], ends[number + 1])) for number in range(0, 2 * len(labels), 2)]
    other = [list(range(ends[number], ends[number + 1])) for number in range(1, 2 * len(labels), 2)]
    together = np.concatenate([part.reshape(len(part), *form) for part in parts])
    return ExampleScorer(
        rule=rule,
        shape=(len(together), *form),
        products=_products(together, rule, product),
        positives=_table(own, None),
        negatives=_table(other, -1),
        references=np.arange(len(references)),
    )


def distances(scorer: ExampleScorer, sequences: Floats) -> Doubles:
    """Distance of every window [m, T', D] from every prototype, references first: float64 [m, n].

    Raises ValueError for windows of another shape.
    """
    count, *form = scorer.shape
    if sequences.ndim != 3 or list(sequences.shape[1:]) != form:
        raise ValueError(f"windows of shape {sequences.shape} do not fit prototypes of {form[0]} x {form[1]}")
    length, dimensions = form
    if scorer.rule.matching == "frame-wise":
        total = np.zeros((len(sequences), count))
        for place, product in enumerate(scorer.products):
            total += product(np.ascontiguousarray(sequences[:, place]))
        return 1.0 - total / length
    cosines = scorer.products[0](np.ascontiguousarray(sequences).reshape(-1, dimensions)).astype(np.float64)
    pairs = 1.0 - cosines.reshape(len(sequences), length, count, length).transpose(0, 2, 1, 3)
    smoothing = scorer.rule.smoothing
    return aligned(pairs, smoothing) + aligned(np.swapaxes(pairs, -1, -2), smoothing)


def score(scorer: ExampleScorer, sequences: Floats) -> Doubles:
    """Probability that the examples make, of every label in every window [m, T', D]: float64 [m, L]."""
    found = distances(scorer, sequences)
    tau = scorer.rule.temperature
    own = found[:, scorer.positives].min(axis=2)
    terms = [_nearest(found, scorer.negatives)]
    if len(scorer.references):
        terms.append(np.broadcast_to(found[:, scorer.references].min(axis=1, keepdims=True), own.shape))
    else:
        terms.append(np.full_like(own, scorer.rule.elsewhere))
    # 1 / (1 + sum of exp((own - other) / tau)), of which only numbers that float64 can hold count.
    total = np.ones_like(own)
    for term in terms:
        total += np.exp(np.clip((own - term) / tau, -700.0, 700.0))
    return np.asarray(1.0 / total)


def blend(text: npt.NDArray[np.floating[Any]], examples: Doubles, beta: float) -> Floats:
    """The probability that text and examples make together, of equal shapes: float32."""
    logit = beta * _logit(text) + (1.0 - beta) * _logit(examples)
    return np.asarray(1.0 / (1.0 + np.exp(-logit)), np.float32)


def _products(sequences: Floats, rule: ExampleRule, product: Callable[[Floats], Product]) -> tuple[Product, ...]:
    if rule.matching == "alignment":
        return (product(np.ascontiguousarray(sequences).reshape(-1, sequences.shape[2])),)
    return tuple(product(np.ascontiguousarray(sequences[:, place])) for place in range(sequences.shape[1]))


def _table(rows: Sequence[Sequence[int]], filler: int | None) -> npt.NDArray[np.intp]:
    most = max(map(len, rows))
    return np.array([[*row, *[row[0] if filler is None else filler] * (most - len(row))] for row in rows], np.intp)


def _nearest(found: Doubles, table: npt.NDArray[np.intp]) -> Doubles:
    """[m, L]: the smallest distance of each row of the table; infinite where it names none."""
    if not table.shape[1]:
        return np.full((len(found), len(table)), np.inf)
    return np.asarray(np.where(table < 0, np.inf, found[:, table]).min(axis=2))


def _logit(probability: npt.NDArray[np.floating[Any]]) -> Doubles:
    held = np.clip(probability.astype(np.float64), _SMALLEST, 1.0 - _SMALLEST)
    return np.asarray(np.log(held) - np.log1p(-held))
