"""Scores as pictures: which labels are taken for which, and how far probabilities are to be believed. PNG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot

from trainer.evaluation.metrics import ClipScores, calibration_error, confusion, reliability

_NAMED = 40
"""Up to so many labels have their names at the axes."""


def draw_confusion(scores: ClipScores, picture: Path) -> None:
    """Rows: labels that are true; columns: the likeliest label; shares of the row's clips."""
    counts = confusion(scores)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(4 + 0.22 * len(scores.labels), 14)
    figure, axes = pyplot.subplots(figsize=(side, side), layout="constrained")
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    if len(scores.labels) <= _NAMED:
        axes.set_xticks(range(len(scores.labels)), scores.labels, rotation=90, fontsize=7)
        axes.set_yticks(range(len(scores.labels)), scores.labels, fontsize=7)
    axes.set(xlabel="likeliest label", ylabel="true label")
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


def draw_reliability(scores: ClipScores, picture: Path) -> None:
    """The share of right clips over the share that the model gave its likeliest label, and how many clips there are."""
    sure, right, counts = reliability(scores)
    edges = np.linspace(0, 1, len(counts) + 1)
    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(5, 6), sharex=True, layout="constrained",
                                             height_ratios=(3, 1))  # fmt: skip
    upper.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    held = counts > 0
    upper.bar(edges[:-1][held], right[held], width=1 / len(counts), align="edge", alpha=0.5)
    upper.plot(sure[held], right[held], marker="o")
    upper.set(ylabel="share of right clips", ylim=(0, 1), title=f"calibration error {calibration_error(scores):.3f}")
    lower.bar(edges[:-1], counts, width=1 / len(counts), align="edge")
    lower.set(xlabel="share of the likeliest label", ylabel="clips", xlim=(0, 1))
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


def draw_alpha(curves: Mapping[str, Mapping[float, float]], picture: Path) -> None:
    """A figure over the share of the start's weights, one line per set of clips."""
    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name, curve in curves.items():
        axes.plot(list(curve), list(curve.values()), marker="o", label=name)
    axes.set(xlabel="alpha: share of the start's weights", ylabel="top-1", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)
