"""Labels that do not fit what the other clips teach: out-of-fold probability."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_FOLDS = 10
_WEIGHT = 25.0  # of the clips against the ridge, for features of length 1


@dataclass(frozen=True)
class Suspicion:
    """A clip whose own label is less likely than another one."""

    index: int
    likely: int
    """The label that fits better."""
    own: float
    """Probability of the clip's own label, by a classifier that never saw its group."""
    other: float
    """Probability of the likelier one."""


def out_of_fold(
    features: Sequence[npt.NDArray[np.float32]], labels: Sequence[int], groups: Sequence[int], seed: int = 0
) -> Floats | None:
    """Probability of each label for each clip, by logistic regression on the clips of other groups.

    features: one or more ways to look at the clips, [n, D] each, such as upright and mirrored: all of them are learnt
    from, and the probability is their mean. Of a tower or of `trainer.data.features`; labels [n] in 0..K-1. Returns
    [n, K]; None where fewer than two labels or groups leave nothing to learn from.
    """
    from sklearn.model_selection import StratifiedGroupKFold
    from threadpoolctl import threadpool_limits

    known = np.asarray(labels)
    folds = min(_FOLDS, len(set(groups)), int(np.bincount(known).max(initial=0)))
    if len(set(labels)) < 2 or folds < 2:
        return None
    found = np.zeros((len(known), int(known.max()) + 1))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a label with fewer clips than folds
        parts = list(splitter.split(known, known, groups))
    with threadpool_limits(1):  # matrices this small lose more to waiting threads than they gain
        for train, test in parts:
            if len(set(known[train])) > 1:
                _judge(features, known, train, test, found)
    return found


def _judge(
    features: Sequence[npt.NDArray[np.float32]], known: Indices, train: Indices, test: Indices, found: Floats
) -> None:
    """Fill in the rows of one fold."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    seen = np.concatenate([way[train] for way in features])
    scale = StandardScaler().fit(seen)
    learnt, judged = scale.transform(seen), [scale.transform(way[test]) for way in features]
    weight = _WEIGHT / learnt.shape[1]
    if len(learnt) < learnt.shape[1]:
        # A ridge sees only the span of its clips: the projection changes nothing but the time.
        basis = np.linalg.svd(learnt, full_matrices=False)[2].T
        learnt, judged = learnt @ basis, [way @ basis for way in judged]
    model = LogisticRegression(C=weight, max_iter=500).fit(learnt, np.tile(known[train], len(features)))
    found[np.ix_(test, model.classes_)] = np.mean([model.predict_proba(way) for way in judged], axis=0)


def suspicious(probabilities: Floats, labels: Sequence[int], most: int = 10) -> list[Suspicion]:
    """The clips whose label fits least, worst first: at most `most`, and only where another label is likelier.

    The order is that of the own label's probability over its mean for clips of that label, so that labels which are
    hard to tell apart do not come first as a whole (Northcutt et al. 2021, confident learning).
    """
    known = np.asarray(labels)
    rows = np.arange(len(known))
    own = probabilities[rows, known]
    others = probabilities.copy()
    others[rows, known] = -1.0
    likely = others.argmax(axis=1)
    usual = np.array(
        [own[known == label].mean() if (known == label).any() else 1.0 for label in range(known.max() + 1)]
    )
    order = np.argsort(own / np.maximum(usual[known], 1e-9), kind="stable")
    return [
        Suspicion(int(index), int(likely[index]), float(own[index]), float(others[index, likely[index]]))
        for index in order
        if others[index, likely[index]] > own[index]
    ][:most]
