"""Figures of scores, by hand and against sklearn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, balanced_accuracy_score

from trainer.evaluation.metrics import (
    ClipScores,
    average_precisions,
    calibration_error,
    class_accuracies,
    class_rows,
    confusion,
    figures,
    over_seeds,
    top_k,
)
from trainer.evaluation.score_plots import draw_alpha, draw_confusion, draw_reliability

SHARES = np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]])
KNOWN = ClipScores(SHARES, np.eye(3, dtype=bool)[[0, 0, 1, 2]], ("run", "jump", "fall"), ("a", "b", "c", "d"))


def drawn(seed: int, labels: int, several: bool) -> ClipScores:
    """Random scores of forty clips, each label true of some."""
    rng = np.random.default_rng(seed)
    truth = np.eye(labels, dtype=bool)[np.arange(40) % labels]
    if several:
        truth |= rng.random(truth.shape) < 0.2
    shares = rng.dirichlet(np.ones(labels), 40)
    return ClipScores(shares, truth, tuple(map(str, range(labels))), tuple(map(str, range(40))))


def test_figures_of_four_clips() -> None:
    """Three of four are right; b is taken for jump; of run half is right."""
    found = figures(KNOWN)
    assert (found["top1"], found["top5"], found["mean_class_accuracy"]) == (0.75, 1.0, pytest.approx(5 / 6))
    assert top_k(KNOWN, 2) == 1.0
    assert class_accuracies(KNOWN).tolist() == [0.5, 1.0, 1.0]
    assert confusion(KNOWN).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert [row[-1] for row in class_rows(KNOWN)] == ["jump", "", ""]
    # Four bins hold one clip each: |.7-1|, |.5-0|, |.6-1|, |.4-1|.
    assert found["calibration_error"] == pytest.approx((0.3 + 0.5 + 0.4 + 0.6) / 4)


@given(seed=st.integers(0, 999), labels=st.integers(2, 6), several=st.booleans())
def test_precision_and_class_accuracy_are_those_of_sklearn(seed: int, labels: int, several: bool) -> None:
    """Average precision of each label, with one label per clip or several; balanced accuracy with one."""
    scores = drawn(seed, labels, several)
    for label, found in enumerate(average_precisions(scores)):
        expected = average_precision_score(scores.truth[:, label], scores.shares[:, label])
        assert found == pytest.approx(expected)
    if not several:
        expected = balanced_accuracy_score(scores.truth.argmax(axis=1), scores.shares.argmax(axis=1))
        assert np.nanmean(class_accuracies(scores)) == pytest.approx(expected)


def test_probabilities_that_hold_have_no_calibration_error() -> None:
    """Of clips given 0.8, eight in ten are right; a model that is always sure and half right is off by a half."""
    rows = np.tile([0.8, 0.2], (10, 1))
    truth = np.eye(2, dtype=bool)[[0] * 8 + [1] * 2]
    assert calibration_error(ClipScores(rows, truth, ("a", "b"), ("",) * 10)) == pytest.approx(0, abs=1e-12)
    sure = np.tile([1.0, 0.0], (10, 1))
    half = np.eye(2, dtype=bool)[[0, 1] * 5]
    assert calibration_error(ClipScores(sure, half, ("a", "b"), ("",) * 10)) == pytest.approx(0.5)


def test_a_label_without_clips_takes_no_part() -> None:
    """Its accuracy and precision are no numbers, and the means leave it out."""
    scores = ClipScores(SHARES[:2], np.array([[True, False, False]] * 2), KNOWN.labels, ("a", "b"))
    assert np.isnan(average_precisions(scores)).tolist() == [False, True, True]
    assert figures(scores)["mean_class_accuracy"] == 0.5


def test_mean_and_deviation_over_seeds() -> None:
    """Of the sample; one seed has no deviation."""
    assert over_seeds([{"top1": 0.6}, {"top1": 0.8}]) == pytest.approx({"top1": 0.7, "top1_deviation": 0.1 * 2**0.5})
    assert over_seeds([{"top1": 0.6}])["top1_deviation"] == 0


def test_pictures_are_drawn(tmp_path: Path) -> None:
    """Three PNG files that are not empty."""
    draw_confusion(KNOWN, tmp_path / "c.png")
    draw_reliability(KNOWN, tmp_path / "r.png")
    draw_alpha({"single": {0.0: 0.5, 1.0: 0.2}}, tmp_path / "a.png")
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 3
