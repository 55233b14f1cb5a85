"""From window embeddings to probabilities (ARCHITECTURE 3e and 3f).

A label competes with the other members of its group and with the bundle's reference texts, one softmax per prompt
template, and the templates' probabilities are averaged (after ActionCLIP, arXiv 2109.08472, section 3.2):

    p(label) = mean over templates of  exp(s(label)) / (exp(s(label)) + sum over competitors of exp(s(competitor)))
    s(text)  = scale * cosine(window, text) / temperature

Bundles trained with a sigmoid loss (SigLIP, arXiv 2303.15343) have no competitors:

    p(label) = mean over templates of  sigmoid((scale * cosine(window, label) + bias) / temperature)

No result depends on its batch mates or on the other labels, bit for bit. So nothing here calls BLAS, whose kernels
round differently by position and by thread. `einsum` without optimisation computes every dot product alone, in a fixed
order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float32]

_LARGEST_EXPONENT = 700.0
"""exp of a larger number overflows float64."""


@dataclass(frozen=True, slots=True)
class ScoreRule:
    """How a bundle turns cosines into probabilities; from the manifest's `score` section."""

    function: Literal["softmax", "sigmoid"]
    logit_scale: float
    logit_bias: float | None
    temperature: float


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """Labels prepared for scoring. Immutable."""

    rule: ScoreRule
    labels: Array
    """[L, P, D], L2-normalised."""
    references: Array
    """[R, P, D]."""
    competes: npt.NDArray[np.float64]
    """[L, R]: 1 where a reference competes with a label, else 0."""
    groups: tuple[npt.NDArray[np.intp], ...]
    """Positions of the members of every group with at least two."""


def prepare(
    labels: Array,
    references: Array,
    left_out: npt.NDArray[np.bool_],
    groups: Sequence[str | None],
    rule: ScoreRule,
) -> Scorer:
    """Prepare labels for scoring.

    labels: float32 [L, P, D] and references: float32 [R, P, D], R >= 1, L2-normalised, one row per prompt template.
    left_out: bool [L, R], True where a reference means the same as a label and does not compete with it. If that
    leaves a label no competitor, it competes with all references: alone it would always win.
    groups: the group of each label, or None.
    Raises ValueError if the shapes do not fit.
    """
    if labels.ndim != 3 or references.ndim != 3 or labels.shape[1:] != references.shape[1:] or not len(references):
        raise ValueError(f"text embeddings of shapes {labels.shape} and {references.shape} do not fit each other")
    if left_out.shape != (len(labels), len(references)) or len(groups) != len(labels):
        raise ValueError(f"a mask of shape {left_out.shape} and {len(groups)} groups do not fit {len(labels)} labels")
    names = sorted({group for group in groups if group is not None})
    members = (np.flatnonzero([group == name for group in groups]) for name in names)
    return Scorer(
        rule=rule,
        labels=np.ascontiguousarray(labels, np.float32),
        references=np.ascontiguousarray(references, np.float32),
        competes=np.where(left_out.all(axis=1, keepdims=True), 1.0, 1.0 - left_out),
        groups=tuple(positions for positions in members if len(positions) > 1),
    )


def score(scorer: Scorer, windows: Array) -> Array:
    """Probability of every label in every window.

    windows: float32 [n, D], L2-normalised. Returns float32 [n, L].
    """
    if windows.ndim != 2 or windows.shape[1] != scorer.labels.shape[2]:
        raise ValueError(f"windows of shape {windows.shape} do not fit texts of {scorer.labels.shape[2]} dimensions")
    windows = np.ascontiguousarray(windows, np.float32)
    if not windows.shape[0] or not scorer.labels.shape[0]:
        return np.zeros((len(windows), len(scorer.labels)), np.float32)
    label = _logits(scorer.rule, windows, scorer.labels)
    if scorer.rule.function == "sigmoid":
        probability = 1.0 / (1.0 + np.exp(np.clip(-label, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)))
    else:
        probability = _softmax(scorer, label, _logits(scorer.rule, windows, scorer.references))
    return np.ascontiguousarray(_mean(probability)).astype(np.float32)


def _softmax(scorer: Scorer, label: Any, reference: Any) -> Any:
    """[n, L, P] and [n, R, P] logits to [n, L, P] probabilities."""
    highest = reference.max(axis=1, keepdims=True)
    label = np.exp(np.clip(label - highest, -_LARGEST_EXPONENT, _LARGEST_EXPONENT))
    reference = np.ascontiguousarray(np.exp(reference - highest).transpose(0, 2, 1))
    others = np.einsum("npr,lr->nlp", reference, scorer.competes)
    for members in scorer.groups:
        group = label[:, members]
        for position, member in enumerate(members):
            others[:, member] += _sum_of_others(group, position)
    return label / (label + others)


def _sum_of_others(group: Any, position: int) -> Any:
    """[n, g, P] to [n, P]: the sum over all members but one, in the order of the members."""
    return np.add.accumulate(np.delete(group, position, axis=1), axis=1)[:, -1]


def _logits(rule: ScoreRule, windows: Array, texts: Array) -> Any:
    """float64 [n, t, P]."""
    cosine = np.einsum("nd,tpd->ntp", windows, texts).astype(np.float64)
    return (rule.logit_scale * cosine + (rule.logit_bias or 0.0)) / rule.temperature


def _mean(values: Any) -> Any:
    """Mean over the last axis. Values are added one by one, so that the other axes cannot change the order."""
    return np.add.accumulate(values, axis=-1)[..., -1] / values.shape[-1]
