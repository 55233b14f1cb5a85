"""Thresholds and lags fitted to scored streams with their truth: what calibration writes into a bundle. Pure.

Every candidate rule is tried on every label. With few events the best one for a label is largely luck, so each label's
counts are laid together with a few events of the average label: where a label says little, the common rule wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from trainer.detection import Rules, Series, Tally, joined, label_tally

_ENTER = (0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.94, 0.97)
_EXIT = (0.2, 0.45, 0.7, 0.9)
_CONFIRM = (1, 2, 3, 4)
_MERGE = (0.25, 0.5, 0.75, 1.25)
CANDIDATES: tuple[Rules, ...] = tuple(
    Rules(enter=enter, exit=round(enter * share, 4), confirm=confirm, merge_seconds=merge)
    for enter, share, confirm, merge in product(_ENTER, _EXIT, _CONFIRM, _MERGE)
)
_REFINEMENTS = tuple(product((0.0, 0.5, 1.0), (0.0, 1.0, 2.0)))  # min_seconds, cooldown_seconds

ALARMS_PER_HOUR = 1.0
"""False alarms that are allowed per hour of streams in which nothing happens."""
_PRIOR_EVENTS = 8.0


@dataclass(frozen=True)
class Fit:
    """Rules per label, the common ones for labels that were not measured, and the lags in seconds that all share."""

    rules: tuple[Rules, ...]
    defaults: Rules
    onset_lag: float
    offset_lag: float

    def tallies(self, series: Sequence[Series], rate: int) -> list[Tally]:
        """Counts per label over streams."""
        stream = joined(series, rate)
        return [
            label_tally(stream, label, rules, self.onset_lag, self.offset_lag) for label, rules in enumerate(self.rules)
        ]


@dataclass(frozen=True)
class Measure:
    """What a good rule is: F-beta (below 1 a false alarm weighs more than a miss), and the allowed false alarms."""

    beta: float = 1.0
    alarms_per_hour: float = ALARMS_PER_HOUR


@dataclass(frozen=True)
class _Counts:
    """Outcomes of every candidate for every label. [L, C], events in truth [L]."""

    hits: npt.NDArray[np.float64]
    found: npt.NDArray[np.float64]
    truth: npt.NDArray[np.float64]
    alarms: npt.NDArray[np.float64]
    """On streams in which nothing happens."""
    hours: float
    """Length of those."""

    def best(self, measure: Measure) -> list[int]:
        """The best candidate of each label."""
        weight = _PRIOR_EVENTS / max(self.truth.sum(), 1.0)
        hits = self.hits + weight * self.hits.sum(axis=0)
        found = self.found + weight * self.found.sum(axis=0)
        truth = self.truth[:, None] + weight * self.truth.sum()
        allowed = measure.alarms_per_hour * self.hours / len(self.hits)
        return [
            _choose(_merit(hits[label], found[label], truth[label], measure), self.alarms[label], allowed)
            for label in range(len(hits))
        ]

    def best_for_all(self, measure: Measure) -> int:
        """The candidate that is best when every label uses it."""
        merit = _merit(self.hits.sum(axis=0), self.found.sum(axis=0), self.truth.sum(), measure)
        return _choose(merit, self.alarms.sum(axis=0), measure.alarms_per_hour * self.hours)


def _merit(
    hits: npt.NDArray[np.float64], found: npt.NDArray[np.float64], truth: npt.NDArray[np.float64], measure: Measure
) -> npt.NDArray[np.float64]:
    square = measure.beta**2
    return (1 + square) * hits / np.maximum(square * truth + found, 1e-9)


def _choose(merit: npt.NDArray[np.float64], alarms: npt.NDArray[np.float64], allowed: float) -> int:
    """The best of those with no more alarms than allowed, or of those with the fewest; the first of equals."""
    fine = alarms <= max(allowed, float(alarms.min())) + 1e-9
    return int(np.argmax(np.where(fine, merit, -1.0)))


def fit(
    series: Sequence[Series],
    rate: int,
    *,
    lag: float,
    quiet: Sequence[Series] = (),
    measure: Measure | None = None,
    rounds: int = 3,
) -> Fit:
    """Rules per label and for all that maximise F, and common lags (whole sampling periods) without bias.

    series: streams with actions; quiet: streams in which nothing happens, for the limit on false alarms. lag: seconds
    from the instant a window is about to its last item, where the search for the lags begins.
    """
    measure = measure or Measure()
    stream, labels = joined(series, rate), range(series[0].scores.shape[1])
    silent = joined(quiet, rate) if quiet else None
    hours = sum(one.length for one in quiet) / 3600
    onset = offset = round(lag * rate) / rate
    for turn in range(rounds):
        counts = _count(stream, silent, hours, [CANDIDATES] * len(labels), onset, offset)
        chosen = [CANDIDATES[index] for index in counts.best(measure)]
        common = CANDIDATES[counts.best_for_all(measure)]
        if turn < rounds - 1:
            total = sum((label_tally(stream, label, chosen[label], onset, offset) for label in labels), Tally())
            if total.hits:
                onset = max(0.0, onset + round(float(np.median(total.starts)) * rate) / rate)
                offset = max(0.0, offset + round(float(np.median(total.ends)) * rate) / rate)
    refined = _count(stream, silent, hours, [_refinements(rules) for rules in chosen], onset, offset)
    rules = tuple(_refinements(one)[index] for one, index in zip(chosen, refined.best(measure), strict=True))
    common_refined = _count(stream, silent, hours, [_refinements(common)] * len(labels), onset, offset)
    return Fit(rules, _refinements(common)[common_refined.best_for_all(measure)], onset, offset)


def _refinements(rules: Rules) -> tuple[Rules, ...]:
    return tuple(replace(rules, min_seconds=shortest, cooldown_seconds=cooldown) for shortest, cooldown in _REFINEMENTS)


def _count(
    stream: Series,
    silent: Series | None,
    hours: float,
    candidates: Sequence[Sequence[Rules]],
    onset: float,
    offset: float,
) -> _Counts:
    tallies = [
        [label_tally(stream, label, rules, onset, offset) for rules in rows] for label, rows in enumerate(candidates)
    ]
    alarms = [
        [label_tally(silent, label, rules, onset, offset).found if silent else 0 for rules in rows]
        for label, rows in enumerate(candidates)
    ]
    return _Counts(
        hits=_table((one.hits for one in row) for row in tallies),
        found=_table((one.found for one in row) for row in tallies),
        truth=np.array([row[0].truth for row in tallies], np.float64),
        alarms=_table(alarms),
        hours=hours,
    )


def _table(rows: Iterable[Iterable[int]]) -> npt.NDArray[np.float64]:
    return np.array([list(row) for row in rows], np.float64)
