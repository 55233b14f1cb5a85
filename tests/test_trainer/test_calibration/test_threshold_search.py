"""Thresholds and lags fitted to scored streams."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.calibration.detection import Series, Tally
from trainer.calibration.threshold_search import Measure, fit

RATE, LAG = 4, 0.75


def streams(seed: int, count: int = 3, high: float = 0.9, quiet: bool = False, glitch: float = 0.0) -> list[Series]:
    """Two labels; the second one's scores are a quarter of the first's. Scores lag `LAG` behind the truth."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        seconds = np.arange(240) / RATE
        scores = rng.uniform(0.0, 0.05, (240, 2))
        truth: dict[int, list[tuple[float, float]]] = {}
        for at in () if quiet else range(3, 54, 6):
            label, length = int(rng.integers(2)), float(rng.uniform(1.5, 3.0))
            truth.setdefault(label, []).append((at, at + length))
            inside = (seconds - LAG >= at) & (seconds - LAG < at + length)
            scores[inside, label] = (high, 0.25 * high)[label] * rng.uniform(0.85, 1.0, inside.sum())
        for at in np.flatnonzero(rng.random(240) < glitch):
            scores[at : at + 3, :] = 0.5
        made.append(Series(seconds, scores, truth, 60.0))
    return made


def test_each_label_gets_thresholds_of_its_own_scale_and_the_lags_are_found() -> None:
    """Rules fitted to some streams find every event of others, and starts and ends are unbiased."""
    found = fit(streams(1), RATE, lag=0.25)
    total = sum(found.tallies(streams(2), RATE), Tally())
    assert total.f1 == 1.0
    assert found.rules[1].enter <= 0.2
    assert (found.onset_lag, found.offset_lag) == pytest.approx((LAG, LAG), abs=0.26)
    assert abs(float(np.median(total.starts))) <= 0.26 and abs(float(np.median(total.ends))) <= 0.26


def test_the_lags_reach_as_far_as_a_window_does() -> None:
    """A mean over a window of 8 s is above a low `exit` until the action has left it, long after its end.

    action    |----|
    score     ../-------------..
    """
    rng = np.random.default_rng(3)
    made = []
    for _ in range(4):
        seconds, starts = np.arange(8, 240) / 2, np.arange(10.0, 100.0, 22.0) + rng.uniform(0, 4, 5)
        truth = [(start, start + float(rng.uniform(4, 7))) for start in starts]
        inside = [np.minimum(seconds, end) - np.maximum(seconds - 8, start) for start, end in truth]
        shares = np.clip(inside, 0, None).sum(axis=0) / 8
        scores = np.clip(1.3 * shares + rng.normal(0, 0.02, len(seconds)), 0, 1)[:, None]
        made.append(Series(seconds, scores, {0: truth}, 120.0))
    bias = []
    for window in (0.0, 8.0):
        found = fit(made[:2], 2, lag=1.0, window=window)
        bias.append(abs(float(np.median(sum(found.tallies(made[2:], 2), Tally()).ends))))
    assert bias[1] <= 0.5 < bias[0]


def test_alarms_where_nothing_happens_raise_the_thresholds() -> None:
    """Bursts of half certainty on quiet streams force the common rule above them, or past their length."""
    quiet = streams(3, quiet=True, glitch=0.03)
    loose, strict = (fit(streams(1), RATE, lag=LAG, quiet=some) for some in ((), quiet))

    def alarms(rules: object) -> int:
        from trainer.calibration.detection import label_tally

        return sum(label_tally(one, label, rules, 0.0, 0.0).found for one in quiet for label in range(2))  # type: ignore[arg-type]

    assert alarms(loose.defaults) > 0 and alarms(strict.defaults) == 0


def test_a_label_without_events_follows_the_others() -> None:
    """No truth about a label says nothing, so it gets what is best for the rest."""
    seen = [Series(one.seconds, one.scores, {0: one.truth.get(0, [])}, one.length) for one in streams(1)]
    found = fit(seen, RATE, lag=LAG)
    assert found.rules[1].enter >= 0.06  # not whatever happens to come first


def test_an_action_that_rises_slowly_is_reported_from_its_beginning() -> None:
    """Half certainty at first, full certainty late: a high `enter` keeps bursts out, and `backtrack_seconds` the start.

    truth   ___|################|____
    score   ___+++++++++########_____   # 0.9, + 0.5; bursts of 0.5 elsewhere
    """
    slow = []
    for one in streams(7, glitch=0.02):
        scores = one.scores.copy()
        for at, end in one.truth.get(0, []):
            rising = (one.seconds - LAG >= at) & (one.seconds - LAG < (at + end) / 2)
            scores[rising, 0] = 0.5
        slow.append(Series(one.seconds, scores, {0: one.truth.get(0, [])}, one.length))
    rules = fit(slow, RATE, lag=LAG, measure=Measure(delay_seconds=5.0)).rules[0]
    assert rules.enter > 0.5 and rules.backtrack_seconds > 0.0


def test_a_smaller_beta_prefers_fewer_false_alarms() -> None:
    """With false alarms weighing more than misses, precision does not fall."""
    noisy = streams(5, high=0.6, glitch=0.02)

    def precision(beta: float) -> float:
        total = sum(fit(noisy, RATE, lag=LAG, measure=Measure(beta=beta)).tallies(noisy, RATE), Tally())
        return total.hits / max(total.found, 1)

    assert precision(0.3) >= precision(2.0)


def test_events_that_come_late_count_less() -> None:
    """Bursts of three windows are outlasted by waiting for a fourth, unless that comes too late.

    score   ____####____            confirm 4: no alarm, but four windows late
    truth   ___|########|
    """
    noisy = streams(5, high=0.6, glitch=0.03)

    def delay(limit: float) -> float:
        total = sum(fit(noisy, RATE, lag=LAG, measure=Measure(delay_seconds=limit)).tallies(noisy, RATE), Tally())
        return float(np.median(total.delays))

    assert delay(0.8) < delay(3.0) - 0.2
