"""From window embeddings to probabilities (ARCHITECTURE 3e and 3f).

A label competes with the other members of its group and with the bundle's reference texts, one softmax per prompt
template, and the templates' probabilities are averaged (after ActionCLIP, arXiv 2109.08472, section 3.2):

    p(label) = mean over templates of  exp(s(label)) / (exp(s(label)) + sum over competitors of exp(s(competitor)))
    s(text)  = scale * cosine(window, text) / temperature

Bundles trained with a sigmoid loss (SigLIP, arXiv 2303.15343) have no competitors:

    p(label) = mean over templates of  sigmoid((scale * cosine(window, label) + bias) / temperature)

No result depends on its batch mates or on the other labels, bit for bit. So nothing here calls BLAS, whose kernels
round differently by position and by thread; whoever brings a faster product of windows and texts (`Product`) has proven
that it does not either. Ten thousand labels are the measure: nothing here is a loop over them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float32]
Product: TypeAlias = Callable[[Array], Array]
"""Cosines of windows [n, D] with some texts, float32 [n, t]; of each pair alone, whatever else is in the call."""

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
    shape: tuple[int, int, int, int]
    """L labels, R references, P templates, D dimensions."""
    product: Product
    """With the labels and then the references, template by template: [n, (L + R) * P]."""
    masks: npt.NDArray[np.float64]
    """[m, R]: 1 where a reference competes, else 0. Most labels share one of a few."""
    mask_of: npt.NDArray[np.intp]
    """[L]: row of `masks`."""
    groups: tuple[npt.NDArray[np.intp], ...]
    """Positions of the members of every group with at least two."""


def one_by_one(texts: Array) -> Product:
    """The product with texts [t, D] that computes every cosine alone, in a fixed order: `einsum` without optimisation.

    It is slow, and needs no proof.
    """
    texts = np.ascontiguousarray(texts, np.float32)
    return lambda windows: np.asarray(np.einsum("nd,td->nt", windows, texts), np.float32)


def prepare(
    labels: Array,
    references: Array,
    left_out: npt.NDArray[np.bool_],
    groups: Sequence[str | None],
    rule: ScoreRule,
    product: Callable[[Array], Product] = one_by_one,
) -> Scorer:
    """Prepare labels for scoring.

    labels: float32 [L, P, D] and references: float32 [R, P, D], R >= 1, L2-normalised, one row per prompt template.
    left_out: bool [L, R], True where a reference means the same as a label and does not compete with it. If that
    leaves a label no competitor, it competes with all references: alone it would always win.
    groups: the group of each label, or None.
    product: makes the product with texts [t, D], all of them in one.
    Raises ValueError if the shapes do not fit.
    """
    if labels.ndim != 3 or references.ndim != 3 or labels.shape[1:] != references.shape[1:] or not len(references):
        raise ValueError(f"text embeddings of shapes {labels.shape} and {references.shape} do not fit each other")
    if left_out.shape != (len(labels), len(references)) or len(groups) != len(labels):
        raise ValueError(f"a mask of shape {left_out.shape} and {len(groups)} groups do not fit {len(labels)} labels")
    texts = np.concatenate([labels, references]).astype(np.float32, copy=False)
    masks, mask_of = _masks(left_out)
    return Scorer(
        rule=rule,
        shape=(len(labels), *references.shape),
        product=product(texts.reshape(-1, texts.shape[2])),
        masks=masks,
        mask_of=mask_of,
        groups=_groups(groups),
    )


def score(scorer: Scorer, windows: Array) -> Array:
    """Probability of every label in every window.

    windows: float32 [n, D], L2-normalised. Returns float32 [n, L].
    """
    if not len(windows) or not scorer.shape[0]:
        _check(scorer, windows)
        return np.zeros((len(windows), scorer.shape[0]), np.float32)
    return from_cosines(scorer, *cosines(scorer, windows))


def from_cosines(scorer: Scorer, labels: Array, references: Array) -> Array:
    """Probabilities, float32 [n, L], from cosines of windows with the labels [n, L, P] and references [n, R, P]."""
    label, reference = (_logits(scorer.rule, part) for part in (labels, references))
    if scorer.rule.function == "sigmoid":
        probability = 1.0 / (1.0 + _exponential(np.negative(label, out=label)))
    else:
        probability = _softmax(scorer, label, reference)
    found: Array = _mean(probability).astype(np.float32)
    return found


def cosines(scorer: Scorer, windows: Array) -> tuple[Array, Array]:
    """Cosines of windows [n, D] with the labels, float32 [n, L, P], and with the references, float32 [n, R, P]."""
    _check(scorer, windows)
    labels, references, templates, _ = scorer.shape
    found = scorer.product(np.ascontiguousarray(windows, np.float32)).reshape(len(windows), -1, templates)
    return found[:, :labels], found[:, labels : labels + references]


def _check(scorer: Scorer, windows: Array) -> None:
    if windows.ndim != 2 or windows.shape[1] != scorer.shape[3]:
        raise ValueError(f"windows of shape {windows.shape} do not fit texts of {scorer.shape[3]} dimensions")


def _masks(left_out: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """The different rows of what competes, and which of them each label has."""
    competes = ~left_out
    competes[left_out.all(axis=1)] = True
    _, first, mask_of = np.unique(np.packbits(competes, axis=1), axis=0, return_index=True, return_inverse=True)
    return competes[first].astype(np.float64), mask_of.reshape(-1).astype(np.intp)


def _groups(groups: Sequence[str | None]) -> tuple[npt.NDArray[np.intp], ...]:
    members: dict[str, list[int]] = {}
    for position, group in enumerate(groups):
        if group is not None:
            members.setdefault(group, []).append(position)
    return tuple(np.array(members[name], np.intp) for name in sorted(members) if len(members[name]) > 1)


def _softmax(scorer: Scorer, label: Any, reference: Any) -> Any:
    """[n, L, P] and [n, R, P] logits, which are spent, to [n, L, P] probabilities."""
    highest = reference.max(axis=1, keepdims=True)
    label = _exponential(np.subtract(label, highest, out=label))
    reference = np.ascontiguousarray(np.exp(reference - highest).transpose(0, 2, 1))
    others = np.einsum("npr,mr->nmp", reference, scorer.masks)
    if len(scorer.masks) > 1 or scorer.groups:
        others = np.take(others, scorer.mask_of, axis=1)
    for members in scorer.groups:
        sums = _sums_of_others(np.take(label, members, axis=1))
        others[:, members] = np.take(others, members, axis=1) + sums
    total = label + others
    return np.divide(label, total, out=total)


def _exponential(values: Any) -> Any:
    """exp in place, of what float64 can hold."""
    np.clip(values, -_LARGEST_EXPONENT, _LARGEST_EXPONENT, out=values)
    return np.exp(values, out=values)


def _sums_of_others(group: Any) -> Any:
    """[n, g, P] to [n, g, P]: for each member the sum over all the others, those before it and those after it."""
    sums = np.zeros_like(group)
    sums[:, 1:] = np.add.accumulate(group[:, :-1], axis=1)
    sums[:, :-1] += np.add.accumulate(group[:, :0:-1], axis=1)[:, ::-1]
    return sums


def _logits(rule: ScoreRule, cosine: Array) -> Any:
    """float64, of the form of `cosine`. Step by step in place: for ten thousand labels every copy counts."""
    logits = cosine.astype(np.float64)
    logits *= rule.logit_scale
    if rule.logit_bias:
        logits += rule.logit_bias
    logits /= rule.temperature
    return logits


def _mean(values: Any) -> Any:
    """Mean over the last axis. Values are added one by one, so that the other axes cannot change the order."""
    templates = values.shape[-1]
    if templates == 1:
        return values[..., 0]
    total = values[..., 0].copy()
    for template in range(1, templates):
        total += values[..., template]
    return total / templates
