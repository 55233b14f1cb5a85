"""Labels that do not fit."""

from __future__ import annotations

import numpy as np

from trainer.data.suspicion import out_of_fold, suspicious


def test_flipped_labels_are_the_most_suspicious() -> None:
    """Ninety points around three centres, three of them under a wrong label."""
    rng = np.random.default_rng(0)
    truth = np.arange(90) % 3
    features = (rng.normal(0, 0.7, (90, 8)) + 3 * np.eye(8)[truth]).astype(np.float32)
    labels = truth.copy()
    labels[[4, 40, 77]] = (labels[[4, 40, 77]] + 1) % 3
    found = out_of_fold([features], labels.tolist(), (np.arange(90) // 5).tolist())
    assert found is not None and np.allclose(found.sum(axis=1), 1)
    worst = suspicious(found, labels.tolist())
    assert {one.index for one in worst[:3]} == {4, 40, 77}
    assert [one.likely for one in sorted(worst[:3], key=lambda one: one.index)] == truth[[4, 40, 77]].tolist()
    assert all(one.own < one.other for one in worst)


def test_a_second_way_to_look_at_the_clips_says_more() -> None:
    """Two noisy views of the same points: together they tell labels apart that one alone confuses."""
    rng = np.random.default_rng(2)
    truth = np.arange(120) % 3
    views = [(rng.normal(0, 1.6, (120, 6)) + 3 * np.eye(6)[truth]).astype(np.float32) for _ in range(2)]
    groups = (np.arange(120) // 6).tolist()
    one, both = (out_of_fold(ways, truth.tolist(), groups) for ways in (views[:1], views))
    assert one is not None and both is not None and np.allclose(both.sum(axis=1), 1)
    assert (both.argmax(axis=1) == truth).mean() > (one.argmax(axis=1) == truth).mean()


def test_clips_of_a_group_do_not_vouch_for_each_other() -> None:
    """A whole group under a wrong label is seen, because the classifier never saw it."""
    rng = np.random.default_rng(1)
    truth = np.arange(80) % 2
    features = (rng.normal(0, 0.3, (80, 6)) + 2 * np.eye(6)[truth]).astype(np.float32)
    groups = np.arange(80) // 8
    labels = np.where(groups == 3, 1 - truth, truth)
    found = out_of_fold([features], labels.tolist(), groups.tolist())
    assert found is not None
    assert {one.index for one in suspicious(found, labels.tolist(), 8)} == set(np.flatnonzero(groups == 3).tolist())


def test_too_little_to_learn_from_says_nothing() -> None:
    """One label, or one group."""
    features = np.zeros((4, 3), np.float32)
    assert out_of_fold([features], [0, 0, 0, 0], [0, 1, 2, 3]) is None
    assert out_of_fold([features], [0, 1, 0, 1], [0, 0, 0, 0]) is None
