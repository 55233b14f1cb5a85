"""The scoring rule of ARCHITECTURE 3e over stored cosines, and the temperature that calibrates its probabilities.

Pure. Temperature scaling after Guo et al., "On calibration of modern neural networks", 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_COLDEST, _HOTTEST = 0.05, 20.0
_STEPS = 16
_GOLDEN = (5**0.5 - 1) / 2
_SURE = 1e-6  # probabilities are clipped this far from 0 and 1
_AT_ONCE = 4096


@dataclass(frozen=True)
class ScoreRule:
    """From cosine to probability. competes, bool [L, R]: which reference texts a label competes with."""

    function: Literal["softmax", "sigmoid"]
    scale: float
    bias: float
    temperature: float
    competes: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Windows:
    """The windows of one stream and their truth: label_cosines [n, L, P], reference_cosines [n, R, P].

    seconds [n] are those of the windows' last items; truth holds the spans of each label.
    """

    seconds: Floats
    label_cosines: npt.NDArray[np.float32]
    reference_cosines: npt.NDArray[np.float32]
    truth: dict[int, list[tuple[float, float]]]

    def under_way(self, lag: float) -> npt.NDArray[np.bool_]:
        """bool [n, L]: whether each label's action is under way `lag` seconds before the windows' last items."""
        instants = self.seconds - lag
        found = np.zeros(self.label_cosines.shape[:2], bool)
        for label, spans in self.truth.items():
            for start, end in spans:
                found[:, label] |= (instants >= start) & (instants < end)
        return found


@dataclass(frozen=True)
class Temperature:
    """The temperature, the lag in seconds at which scores fit the truth best, and the mean loss there and at 1."""

    value: float
    lag: float
    loss: float
    loss_at_one: float


def probabilities(
    label_cosines: npt.NDArray[np.float32], reference_cosines: npt.NDArray[np.float32], rule: ScoreRule
) -> Floats:
    """Probabilities [n, L]: each label against the references it competes with, averaged over the templates."""
    parts = [
        _probabilities(label_cosines[at : at + _AT_ONCE], reference_cosines[at : at + _AT_ONCE], rule)
        for at in range(0, len(label_cosines), _AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.zeros(label_cosines.shape[:2])


def _probabilities(
    label_cosines: npt.NDArray[np.float32], reference_cosines: npt.NDArray[np.float32], rule: ScoreRule
) -> Floats:
    label = (rule.scale * label_cosines.astype(np.float64) + rule.bias) / rule.temperature
    if rule.function == "sigmoid":
        return np.asarray((1.0 / (1.0 + np.exp(np.clip(-label, -700, 700)))).mean(axis=-1))
    reference = (rule.scale * reference_cosines.astype(np.float64) + rule.bias) / rule.temperature
    highest = reference.max(axis=1, keepdims=True)
    others = np.exp(reference - highest)
    # [n, R, P] -> [n, P, R] @ [R, L]: what each label competes with, summed.
    against = (others.transpose(0, 2, 1) @ rule.competes.T.astype(np.float64)).transpose(0, 2, 1)
    mine = np.exp(np.clip(label - highest, -700, 700))
    return np.asarray((mine / (mine + against)).mean(axis=-1))


def fit_temperature(streams: Sequence[Windows], rule: ScoreRule, rate: int, frames: int) -> Temperature:
    """The temperature of least binary cross-entropy over windows and labels, at the lag that fits best.

    Lags are whole sampling periods, at most the length of a window. A golden-section search over log temperature: the
    loss nearly always has one minimum; otherwise this finds one of them.
    """
    label = np.concatenate([one.label_cosines for one in streams])
    reference = np.concatenate([one.reference_cosines for one in streams])
    lags = [tick / rate for tick in range(frames)]
    truths = [np.concatenate([one.under_way(lag) for one in streams]) for lag in lags]

    def losses(temperature: float) -> list[float]:
        shown = probabilities(label, reference, replace(rule, temperature=temperature)).clip(_SURE, 1 - _SURE)
        yes, no = -np.log(shown), -np.log1p(-shown)
        return [float(np.where(truth, yes, no).mean()) for truth in truths]

    low, high = np.log(_COLDEST), np.log(_HOTTEST)
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, right) if min(losses(np.exp(left))) < min(losses(np.exp(right))) else (left, high)
    value = round(float(np.exp(0.5 * (low + high))), 4)
    found = losses(value)
    best = int(np.argmin(found))
    return Temperature(value, lags[best], found[best], losses(1.0)[best])
