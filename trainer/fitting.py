"""Thresholds and lags fitted to scored streams with their truth: what calibration writes into a bundle. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trainer.detection import Rules, Tally
from trainer.evaluate import Series, label_tally

_ENTER = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_EXIT = (0.3, 0.55, 0.8)
_CONFIRM = (1, 2, 3)
_MERGE = (0.3, 0.55, 1.05)


@dataclass(frozen=True)
class Fit:
    """Rules per label, and the lags in seconds that all labels share."""

    rules: tuple[Rules, ...]
    onset_lag: float
    offset_lag: float

    def tallies(self, series: Sequence[Series]) -> list[Tally]:
        """Counts per label over streams."""
        return [
            label_tally(series, label, rules, self.onset_lag, self.offset_lag) for label, rules in enumerate(self.rules)
        ]


def fit(series: Sequence[Series], rate: int, frames: int, rounds: int = 2) -> Fit:
    """Rules per label that maximise F1, and common lags (whole sampling periods) at which starts and ends are unbiased.

    Alternates between both, from lags of half a window.
    """
    labels = series[0].scores.shape[1]
    onset = offset = round(frames / 2) / rate
    chosen: tuple[Rules, ...] = ()
    for _ in range(rounds):
        chosen = tuple(_best(series, label, onset, offset) for label in range(labels))
        total = sum(Fit(chosen, onset, offset).tallies(series), Tally())
        if total.hits:
            onset = max(0.0, onset + round(float(np.median(total.starts)) * rate) / rate)
            offset = max(0.0, offset + round(float(np.median(total.ends)) * rate) / rate)
    return Fit(tuple(_best(series, label, onset, offset) for label in range(labels)), onset, offset)


def _best(series: Sequence[Series], label: int, onset: float, offset: float) -> Rules:
    candidates = [
        Rules(enter=enter, exit=enter * ratio, confirm=2, merge_seconds=0.55) for enter in _ENTER for ratio in _EXIT
    ]
    best = max(candidates, key=lambda rules: _merit(series, label, rules, onset, offset))
    around = [replace(best, confirm=confirm, merge_seconds=merge) for confirm in _CONFIRM for merge in _MERGE]
    best = max([best, *around], key=lambda rules: _merit(series, label, rules, onset, offset))
    again = [replace(best, enter=enter, exit=enter * ratio) for enter in _ENTER for ratio in _EXIT]
    return max([best, *again], key=lambda rules: _merit(series, label, rules, onset, offset))


def _merit(series: Sequence[Series], label: int, rules: Rules, onset: float, offset: float) -> float:
    counts = label_tally(series, label, rules, onset, offset)
    # Among equals the rule further from both ends of the scale; false alarms cost a little more than misses.
    return counts.f1 - 0.002 * (counts.found - counts.hits) / max(1, counts.truth) - 1e-4 * abs(rules.enter - 0.5)
