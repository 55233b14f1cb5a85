"""Figures of scores: of clips with one label or several, and of how far probabilities are to be believed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_BINS = 15


@dataclass(frozen=True)
class ClipScores:
    """What a model says of n clips, and what is true of them."""

    shares: Floats
    """[n, C]: rows sum to one."""
    truth: npt.NDArray[np.bool_]
    """[n, C]: one label of a row is true, or several."""
    labels: tuple[str, ...]
    clips: tuple[str, ...]
    """[n]: their places, for tables."""


def top_k(scores: ClipScores, count: int) -> float:
    """The share of clips of which a true label is among the `count` likeliest."""
    chosen = np.argsort(-scores.shares, axis=1, kind="stable")[:, :count]
    return float(np.take_along_axis(scores.truth, chosen, axis=1).any(axis=1).mean())


def class_accuracies(scores: ClipScores) -> Floats:
    """[C]: of the clips of each label the share in which the likeliest label is true; NaN where it has no clip."""
    right = np.take_along_axis(scores.truth, scores.shares.argmax(axis=1)[:, None], axis=1)[:, 0]
    counts = scores.truth.sum(axis=0)
    hits = (scores.truth & right[:, None]).sum(axis=0)
    return np.where(counts > 0, hits / np.maximum(counts, 1), np.nan)


def average_precisions(scores: ClipScores) -> Floats:
    """[C]: the mean of the precisions at each true clip, in the order of the label's scores; NaN without clips."""
    found = np.full(scores.truth.shape[1], np.nan)
    for label in np.flatnonzero(scores.truth.any(axis=0)):
        hits = scores.truth[np.argsort(-scores.shares[:, label], kind="stable"), label]
        found[label] = float(np.mean((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits]))
    return found


def reliability(scores: ClipScores, bins: int = _BINS) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """Of each bin of the likeliest label's share: mean share, share of right clips (NaN), count; all [bins]."""
    sure = scores.shares.max(axis=1)
    right = np.take_along_axis(scores.truth, scores.shares.argmax(axis=1)[:, None], axis=1)[:, 0]
    place = np.minimum((sure * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        return np.bincount(place, sure, bins) / counts, np.bincount(place, right, bins) / counts, counts


def calibration_error(scores: ClipScores) -> float:
    """The expected calibration error: |mean share - share of right clips|, weighted by the clips of 15 equal bins."""
    sure, right, counts = reliability(scores)
    held = counts > 0
    return float(np.sum(counts[held] * np.abs(sure[held] - right[held])) / counts.sum())


def confusion(scores: ClipScores) -> npt.NDArray[np.int64]:
    """[C, C]: clips of a label (row, the first that is true) by the likeliest label (column)."""
    count = len(scores.labels)
    pairs = scores.truth.argmax(axis=1) * count + scores.shares.argmax(axis=1)
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def figures(scores: ClipScores) -> dict[str, float]:
    """All of them in one place; mean class accuracy and mAP over the labels that have clips."""
    return {
        "top1": top_k(scores, 1),
        "top5": top_k(scores, min(5, len(scores.labels))),
        "mean_class_accuracy": float(np.nanmean(class_accuracies(scores))),
        "map": float(np.nanmean(average_precisions(scores))),
        "calibration_error": calibration_error(scores),
        "clips": float(len(scores.truth)),
    }


def class_rows(scores: ClipScores) -> Iterator[tuple[str, int, float, float, str]]:
    """Of each label: its clips, accuracy, average precision, and the label it is taken for most often."""
    accuracies, precisions, taken = class_accuracies(scores), average_precisions(scores), confusion(scores)
    for index, label in enumerate(scores.labels):
        others = taken[index].copy()
        others[index] = 0
        most = scores.labels[int(others.argmax())] if others.any() else ""
        yield label, int(scores.truth[:, index].sum()), float(accuracies[index]), float(precisions[index]), most


def over_seeds(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean and standard deviation (of the sample; 0 for one row) of each figure over several measurements."""
    found = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        found[name] = float(values.mean())
        found[f"{name}_deviation"] = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return found
