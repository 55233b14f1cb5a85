"""A label's scores over a stream to events, and events against truth; for fitting thresholds. Pure.

The rules are those of the serving side's event machine, in a form that suits a search: whole streams, plain spans.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Spans = list[tuple[float, float, float]]
"""Start, end (with lags taken off) and the instant it fired, in seconds."""

_NOTHING = 1e-9
"""Tolerance for rounding, in seconds."""


@dataclass(frozen=True)
class Rules:
    """Thresholds of one label. Windows and seconds; see ARCHITECTURE 4."""

    enter: float = 0.5
    exit: float = 0.3
    confirm: int = 1
    backtrack_seconds: float = 0.0
    min_seconds: float = 0.0
    merge_seconds: float = 0.5
    cooldown_seconds: float = 0.0
    max_seconds: float = 30.0


def spans(scores: Floats, seconds: Floats, rules: Rules, onset_lag: float, offset_lag: float) -> Spans:
    """Events of one label: `scores` of the windows whose last items were captured at `seconds` (evenly spaced).

    NaN separates joined streams: it is below every threshold, and cuts off an event that is still open.
    """
    period = float(seconds[1] - seconds[0]) if len(seconds) > 1 else 0.0
    staying = _runs(scores >= rules.exit)
    stays_until = [last for _, last in staying]
    found: Spans = []
    ready, previous = -np.inf, -np.inf
    for first, last in _runs(scores >= rules.enter):
        if seconds[first] < ready - _NOTHING:
            first = int(np.searchsorted(seconds, ready - _NOTHING))
        fired = _fires(first, last, scores, seconds, rules)
        if fired is None:
            continue
        stretch = bisect_left(stays_until, fired)
        rise = max(float(seconds[staying[stretch][0]]), float(seconds[first]) - rules.backtrack_seconds, ready)
        begin = max(rise - onset_lag, previous)
        longest = max(begin + rules.max_seconds, float(seconds[fired]) + period)
        end, decided = _ends(fired, staying, stretch, seconds, rules, longest)
        cut_off = decided <= seconds[end] or end + 1 == len(scores) or bool(np.isnan(scores[end + 1]))
        previous = max(float(seconds[end]) - (0.0 if cut_off else offset_lag), begin + period)
        found.append((begin, previous, float(seconds[fired])))
        ready = decided + max(rules.cooldown_seconds, period)
    return found


def _runs(high: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of every stretch of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], high, [False])).astype(np.int8)))
    return list(zip(edges[0::2].tolist(), (edges[1::2] - 1).tolist(), strict=True))


def _fires(first: int, last: int, scores: Floats, seconds: Floats, rules: Rules) -> int | None:
    """The window at which a streak from `first` on becomes an event, if it does."""
    fired = first + rules.confirm - 1
    if fired > last:
        return None
    while seconds[fired] - seconds[first] < rules.min_seconds - _NOTHING:
        fired += 1
        if fired >= len(scores) or not scores[fired] >= rules.exit:
            return None
    return fired


def _ends(
    fired: int, staying: Sequence[tuple[int, int]], stretch: int, seconds: Floats, rules: Rules, longest: float
) -> tuple[int, float]:
    """The last window of an event, and the instant at which its end was decided: `longest` at the latest.

    staying: the stretches at or above `exit`, which belong together where the gap between them is shorter than
    `merge_seconds`. stretch: the one in which it fired.
    """
    end, over = fired, longest  # the first stretch, which holds the window that fired, sets both
    for number in range(stretch, len(staying)):
        first, last = staying[number]
        if first > fired and seconds[first - 1] >= over - _NOTHING:
            break
        if longest <= seconds[last] + _NOTHING:
            end = int(np.searchsorted(seconds, longest - _NOTHING))
            return end, float(seconds[end])
        end, over = last, min(float(seconds[last]) + rules.merge_seconds, longest)
    return end, over


def overlap(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Temporal intersection over union of two spans."""
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return shared / max(max(a[1], b[1]) - min(a[0], b[0]), 1e-9)


def match(truth: Sequence[tuple[float, float]], found: Spans, least: float = 0.5) -> list[tuple[int, int]]:
    """One-to-one pairs (truth, found) with an overlap of at least `least`, best pairs first."""
    if not truth or not found:
        return []
    t, f = np.array(truth), np.array(found)[:, :2]
    shared = np.minimum(t[:, 1:], f[:, 1]) - np.maximum(t[:, :1], f[:, 0])
    union = np.maximum(np.maximum(t[:, 1:], f[:, 1]) - np.minimum(t[:, :1], f[:, 0]), 1e-9)
    overlaps = np.maximum(shared, 0.0) / union
    rows, columns = np.nonzero(overlaps >= least)
    pairs = sorted(zip(-overlaps[rows, columns], rows.tolist(), columns.tolist(), strict=True))
    used_truth: set[int] = set()
    used_found: set[int] = set()
    matched = []
    for _, i, j in pairs:
        if i not in used_truth and j not in used_found:
            used_truth.add(i)
            used_found.add(j)
            matched.append((i, j))
    return matched


@dataclass(frozen=True)
class Tally:
    """Counts over streams; F1 is the harmonic mean of precision and recall."""

    hits: int = 0
    truth: int = 0
    found: int = 0
    delays: tuple[float, ...] = ()
    starts: tuple[float, ...] = ()
    ends: tuple[float, ...] = ()

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.hits + other.hits,
            self.truth + other.truth,
            self.found + other.found,
            self.delays + other.delays,
            self.starts + other.starts,
            self.ends + other.ends,
        )

    @property
    def f1(self) -> float:
        """F1; 1 where nothing was there and nothing was found."""
        total = self.truth + self.found
        return 2 * self.hits / total if total else 1.0


def tally(truth: Sequence[tuple[float, float]], found: Spans) -> Tally:
    """Counts of one stream and label: delays of firing, and errors of the reported start and end (seconds)."""
    pairs = match(truth, found)
    return Tally(
        hits=len(pairs),
        truth=len(truth),
        found=len(found),
        delays=tuple(found[j][2] - truth[i][0] for i, j in pairs),
        starts=tuple(found[j][0] - truth[i][0] for i, j in pairs),
        ends=tuple(found[j][1] - truth[i][1] for i, j in pairs),
    )


@dataclass(frozen=True)
class Series:
    """Scores of one stream: of n windows, whose last items were captured at `seconds`, for each label [n, A]."""

    seconds: Floats
    scores: Floats
    truth: dict[int, list[tuple[float, float]]]
    """Spans by label."""
    length: float


_APART = 20.0  # seconds of silence between two joined streams: longer than any merging, cool-down or lag


def joined(series: Sequence[Series], rate: int) -> Series:
    """Streams one after the other as a single one, far enough apart that no event reaches from one into the next."""
    silence = int(_APART * rate)
    seconds: list[Floats] = []
    scores: list[Floats] = []
    truth: dict[int, list[tuple[float, float]]] = {}
    base = 0.0
    for one in series:
        last = float(one.seconds[-1]) if len(one.seconds) else 0.0
        after = last + np.arange(1, silence + 1) / rate
        seconds.append(base + np.concatenate((one.seconds, after)))
        scores.append(np.concatenate((one.scores, np.full((silence, one.scores.shape[1]), np.nan))))
        for label, events in one.truth.items():
            truth.setdefault(label, []).extend((base + start, base + end) for start, end in events)
        base += max(last, one.length) + _APART + 1.0
    return Series(np.concatenate(seconds), np.concatenate(scores), truth, base)


def label_tally(stream: Series, label: int, rules: Rules, onset_lag: float, offset_lag: float) -> Tally:
    """Counts of one label over a stream."""
    found = spans(stream.scores[:, label], stream.seconds, rules, onset_lag, offset_lag)
    return tally(stream.truth.get(label, ()), found)
