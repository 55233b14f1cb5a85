"""Thresholds and lags fitted to scored streams with their truth: what calibration writes into a bundle. Pure.

The search changes a few settings at a time and tries every change on every label. With few events, the best one for a
label is largely luck. So each label's counts are pooled with a few events of the average label: where a label has
little evidence, what is best for all wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeAlias, TypedDict

import numpy as np

from trainer.calibration.detection import Floats, Rules, Series, Tally, joined, label_tally


class Change(TypedDict, total=False):
    """Settings of `Rules` that a step of the search tries."""

    enter: float
    exit: float
    confirm: int
    backtrack_seconds: float
    min_seconds: float
    merge_seconds: float
    cooldown_seconds: float


Chosen: TypeAlias = tuple[Rules, ...]
Counts: TypeAlias = Floats | float

_START = Rules(enter=0.5, exit=0.25, confirm=2, merge_seconds=0.5, backtrack_seconds=2.0)
_LEVELS = tuple(
    Change(enter=enter, exit=round(enter * share, 4))
    for enter, share in product(
        (0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.94, 0.97), (0.2, 0.45, 0.7, 0.9)
    )
)
_STREAKS = tuple(
    Change(confirm=confirm, merge_seconds=merge) for confirm, merge in product((1, 2, 3, 4), (0.25, 0.5, 0.75, 1.25))
)
_LIMITS = tuple(
    Change(min_seconds=shortest, cooldown_seconds=rest) for shortest, rest in product((0.0, 0.5, 1.0), (0.0, 1.0, 2.0))
)

_BACKTRACKS = tuple(Change(backtrack_seconds=seconds) for seconds in (0.0, 0.5, 1.0, 2.0))
_LONGEST_LAG = 2.0  # seconds; longer windows may lag by their length

ALARMS_PER_HOUR = 1.0
"""False alarms that are allowed per hour of streams in which nothing happens."""
DELAY_SECONDS = 1.5
"""From the beginning of an action to the instant of the window that fired."""
_LATE = 0.25  # of F, per second
_PRIOR_EVENTS = 8.0


@dataclass(frozen=True)
class Fit:
    """Rules per label, common rules for labels without truth, and the lags in seconds that all share."""

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
    """What makes a rule good: F-beta (below 1, false alarms weigh more than misses), few false alarms, short delays."""

    beta: float = 1.0
    alarms_per_hour: float = ALARMS_PER_HOUR
    delay_seconds: float = DELAY_SECONDS
    """A median onset delay beyond this costs a part of F per second: late events are worth less."""

    def f_beta(self, hits: Counts, found: Counts, truth: Counts) -> Floats:
        """F-beta of counts that broadcast together."""
        square = self.beta**2
        return np.asarray((1 + square) * hits / np.maximum(square * truth + found, 1e-9), np.float64)

    def merit(self, hits: Floats, found: Floats, truth: Floats, delays: Floats) -> Floats:
        """Merit of candidates, by their counts and median delays; all but `truth` have one shape."""
        return self.f_beta(hits, found, truth) - _LATE * np.maximum(delays - self.delay_seconds, 0.0)


@dataclass(frozen=True)
class _Counts:
    """Outcomes of C candidates for each of L labels; a column holds the same change of each label's rules.

    hits, found, alarms and delays are [L, C], truth is [L].
    """

    hits: Floats
    found: Floats
    truth: Floats
    delays: Floats
    """Medians in seconds; 0 where nothing was hit."""
    alarms: Floats
    """False alarms on streams in which nothing happens."""
    hours: float
    """Length of those streams."""

    def best(self, measure: Measure) -> list[int]:
        """The best candidate of each label."""
        weight = _PRIOR_EVENTS / max(self.truth.sum(), 1.0)
        hits = self.hits + weight * self.hits.sum(axis=0)
        found = self.found + weight * self.found.sum(axis=0)
        truth = self.truth[:, None] + weight * self.truth.sum()
        allowed = measure.alarms_per_hour * self.hours / len(self.hits)
        return [
            _choose(
                measure.merit(hits[label], found[label], truth[label], self.delays[label]), self.alarms[label], allowed
            )
            for label in range(len(hits))
        ]

    def best_for_all(self, measure: Measure) -> int:
        """The candidate that is best when every label uses it."""
        delays = (self.hits * self.delays).sum(axis=0) / np.maximum(self.hits.sum(axis=0), 1.0)
        merit = measure.merit(self.hits.sum(axis=0), self.found.sum(axis=0), self.truth.sum(), delays)
        return _choose(merit, self.alarms.sum(axis=0), measure.alarms_per_hour * self.hours)


def _choose(merit: Floats, alarms: Floats, allowed: float) -> int:
    """The best of those with no more alarms than allowed, or of those with the fewest; the first of equals."""
    fine = alarms <= max(allowed, float(alarms.min())) + 1e-9
    return int(np.argmax(np.where(fine, merit, -np.inf)))


def fit(
    series: Sequence[Series],
    rate: int,
    *,
    lag: float,
    window: float = 0.0,
    quiet: Sequence[Series] = (),
    measure: Measure | None = None,
    rounds: int = 3,
) -> Fit:
    """Rules per label and for all that maximise F, and the common lags (whole sampling periods) that do.

    series: streams with actions; quiet: streams in which nothing happens, for the limit on false alarms. lag: seconds
    from the instant a window is about to its last item, where the search for the lags begins. window: length of a
    window in seconds; a mean over a long one stays high until the action has left it.
    """
    search = _Search(
        stream=joined(series, rate),
        silent=joined(quiet, rate) if quiet else None,
        hours=sum(one.length for one in quiet) / 3600,
        longest_lag=max(_LONGEST_LAG, window),
        labels=series[0].scores.shape[1],
        measure=measure or Measure(),
    )
    onset = offset = round(lag * rate) / rate
    chosen = (_START,) * search.labels
    for _ in range(rounds - 1):
        chosen = search.better(chosen, _LEVELS, onset, offset)
        onset, offset = search.lags(chosen, rate)
    common = _START
    for variants in (_LEVELS, _STREAKS, _LEVELS, _BACKTRACKS, _LIMITS):
        chosen = search.better(chosen, variants, onset, offset)
        common = search.better_for_all(common, variants, onset, offset)
    return Fit(chosen, common, *search.lags(chosen, rate))


@dataclass(frozen=True)
class _Search:
    """Streams to fit to, and steps of a search that changes a few settings at a time."""

    stream: Series
    silent: Series | None
    hours: float
    longest_lag: float
    labels: int
    measure: Measure

    def better(self, rules: Sequence[Rules], variants: Sequence[Change], onset: float, offset: float) -> Chosen:
        """Each label's rules with the best of the changes."""
        rows = [[replace(one, **change) for change in variants] for one in rules]
        best = self._count(rows, onset, offset).best(self.measure)
        return tuple(row[index] for row, index in zip(rows, best, strict=True))

    def better_for_all(self, rules: Rules, variants: Sequence[Change], onset: float, offset: float) -> Rules:
        """Rules with the change that is best when every label uses it."""
        row = [replace(rules, **change) for change in variants]
        return row[self._count([row] * self.labels, onset, offset).best_for_all(self.measure)]

    def lags(self, rules: Sequence[Rules], rate: int) -> tuple[float, float]:
        """The common lags with the best F; of equals those whose starts and ends are least biased.

        A median error of zero is no substitute: a short action is lost by an error that a long one survives.
        """
        tried = [step / rate for step in range(int(self.longest_lag * rate) + 1)]

        def merit(lags: tuple[float, float]) -> tuple[float, float]:
            total = self._total(rules, *lags)
            bias = abs(np.median(total.starts)) + abs(np.median(total.ends)) if total.hits else np.inf
            return float(self.measure.f_beta(total.hits, total.found, total.truth)), -float(bias)

        return max(product(tried, tried), key=merit)

    def _total(self, rules: Sequence[Rules], onset: float, offset: float) -> Tally:
        return sum((label_tally(self.stream, label, one, onset, offset) for label, one in enumerate(rules)), Tally())

    def _count(self, rows: Sequence[Sequence[Rules]], onset: float, offset: float) -> _Counts:
        tallies = [
            [label_tally(self.stream, label, rules, onset, offset) for rules in row] for label, row in enumerate(rows)
        ]
        alarms = [
            [label_tally(self.silent, label, rules, onset, offset).found if self.silent else 0 for rules in row]
            for label, row in enumerate(rows)
        ]
        return _Counts(
            hits=_table((one.hits for one in row) for row in tallies),
            found=_table((one.found for one in row) for row in tallies),
            truth=np.array([row[0].truth for row in tallies], np.float64),
            delays=_table((float(np.median(one.delays)) if one.delays else 0.0 for one in row) for row in tallies),
            alarms=_table(alarms),
            hours=self.hours,
        )


def _table(rows: Iterable[Iterable[float]]) -> Floats:
    return np.array([list(row) for row in rows], np.float64)
