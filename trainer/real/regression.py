"""What the features of a frozen tower hold of fights at all: a ridge regression on statistics of each window's items.

A plain second opinion on the heads: closed form, no seed, no texts. What it reaches is what a head that sees the same
numbers can be asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from trainer.evaluation import protocols
from trainer.real.heads import Cached

Floats = npt.NDArray[np.float64]

STRENGTH = 1000.0
"""Of the ridge, on features of variance one."""


def change(items: Floats, span: int) -> Floats:
    """[n, T, F] -> [n, F]: the mean |x[t + span] - x[t]|."""
    return np.asarray(np.abs(items[:, span:] - items[:, :-span]).mean(axis=1))


def _changes(items: Floats) -> Floats:
    return np.concatenate([change(items, span) for span in (1, 2, 4)], axis=1)


def _mixed(items: Floats) -> Floats:
    """The same of 384 random mixtures of the channels, as a projection to a text's width begins."""
    mixture = np.random.default_rng(0).normal(size=(items.shape[2], 384))
    spread = items.std(axis=(0, 1)) + 1e-6
    return _changes((items - items.mean(axis=(0, 1))) / spread @ mixture)


STATISTICS: Mapping[str, Callable[[Floats], Floats]] = {
    "mean": lambda items: items.mean(axis=1),
    "deviation": lambda items: items.std(axis=1),
    "next": lambda items: change(items, 1),
    "changes": _changes,
    "changes_and_mean": lambda items: np.concatenate([_changes(items), items.mean(axis=1)], axis=1),
    "changes_and_deviation": lambda items: np.concatenate([_changes(items), items.std(axis=1)], axis=1),
    "changes_of_mixtures": _mixed,
}
"""From items [n, T, F] to what the regression sees, [n, K]."""


def held(given: Cached, folds: Sequence[protocols.Fold]) -> dict[str, float]:
    """Balanced accuracy and area under the curve of two labels by name, for each of the statistics."""
    recipe, labels = given.recipe, given.labels
    clips = range(len(labels))
    items = np.stack([given.encoded.sample(clip, recipe.model.frames, recipe.data.sampling) for clip in clips])
    found: dict[str, float] = {}
    for name, statistic in STATISTICS.items():
        scores = regressed(statistic(items.astype(np.float64)), labels, folds)
        figures = protocols.classified(scores, labels.tolist())
        found |= {f"fight_ridge_{name}_{figure}": round(figures[figure], 4) for figure in ("balanced", "auc")}
    return found


def regressed(features: Floats, labels: npt.NDArray[np.int64], folds: Sequence[protocols.Fold]) -> Floats:
    """Scores [n, 2] of clips with features [n, K], each from a regression that saw no clip of its fold."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def scores(fold: protocols.Fold) -> Floats:
        known = np.setdiff1d(np.arange(len(labels)), fold)
        model = make_pipeline(StandardScaler(), Ridge(STRENGTH)).fit(features[known], 1.0 - 2.0 * labels[known])
        first = np.asarray(model.predict(features[fold]), np.float64)
        return np.stack((first, -first), axis=1)

    return protocols.out_of_fold(len(labels), folds, scores)
