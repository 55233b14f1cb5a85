"""Folds over scores: every clip is scored once, by what never saw its group."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.protocols import classified, leave_groups_out, out_of_fold, stratified_folds


def test_every_group_is_left_out_once_and_scores_come_back_in_order() -> None:
    """Groups b a b c: three folds, and each clip's score lies where the clip does."""
    folds = leave_groups_out(["b", "a", "b", "c"])
    assert [fold.tolist() for fold in folds] == [[1], [0, 2], [3]]
    found = out_of_fold(4, folds, lambda fold: np.stack([fold, -fold], axis=1).astype(float))
    assert found.tolist() == [[0, 0], [1, -1], [2, -2], [3, -3]]


def test_folds_that_miss_a_clip_or_name_one_twice_are_refused() -> None:
    """A mean over them would be of other clips than it says."""
    for folds in ([np.array([0])], [np.array([0, 1]), np.array([1])]):
        with pytest.raises(ValueError, match="each of 2 clips once"):
            out_of_fold(2, folds, lambda fold: np.zeros((len(fold), 2)))


def test_stratified_folds_keep_groups_whole() -> None:
    """Twelve groups with both labels in turn, over three folds."""
    groups = [f"g{number // 2}" for number in range(24)]
    folds = stratified_folds([number // 2 % 2 for number in range(24)], groups, 3, seed=1)
    held = [{groups[index] for index in fold} for fold in folds]
    assert sum(map(len, held)) == 12 and not set.intersection(*held)


def test_figures_of_two_labels_are_those_of_the_definitions() -> None:
    """Three of label 0, one of label 1: two and one right; balanced 5/6; every 0 but one outranks the 1."""
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
    found = classified(scores, [0, 0, 0, 1])
    assert found["top1"] == 0.75
    assert found["balanced"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["auc"] == pytest.approx(2 / 3)
