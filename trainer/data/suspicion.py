"""Labels that do not fit what the other clips teach: out-of-fold probability."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_FOLDS = 10
_STRENGTH = 1e-3  # inverse of the ridge; the features are of scale 1


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
    features: npt.NDArray[np.float32], labels: Sequence[int], groups: Sequence[int], seed: int = 0
) -> Floats | None:
    """Probability of each label for each clip, by logistic regression on the clips of other groups.

    features [n, D], of a tower or of `trainer.data.features`; labels [n] in 0..K-1. Returns [n, K]; None where fewer
    than two labels or groups leave nothing to learn from.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known, groups_there = np.asarray(labels), len(set(groups))
    folds = min(_FOLDS, groups_there, int(np.bincount(known).max(initial=0)))
    if len(set(labels)) < 2 or folds < 2:
        return None
    found = np.zeros((len(known), int(known.max()) + 1))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a label with fewer clips than folds
        parts = list(splitter.split(features, known, groups))
    for train, test in parts:
        if len(set(known[train])) < 2:
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=500))
        model.fit(features[train], known[train])
        found[np.ix_(test, model[-1].classes_)] = model.predict_proba(features[test])
    return found


def suspicious(probabilities: Floats, labels: Sequence[int], most: int = 10) -> list[Suspicion]:
    """The clips whose label fits least, worst first: at most `most`, and only where another label is likelier."""
    own = probabilities[np.arange(len(labels)), labels]
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = -1.0
    likely = others.argmax(axis=1)
    margin = own - others.max(axis=1)
    return [
        Suspicion(int(index), int(likely[index]), float(own[index]), float(others[index, likely[index]]))
        for index in np.argsort(margin, kind="stable")[:most]
        if margin[index] < 0
    ]
