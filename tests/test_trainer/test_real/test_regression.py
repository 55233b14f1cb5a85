"""The regression finds what changes, where a mean finds nothing."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation import protocols
from trainer.real.regression import STATISTICS, change, regressed


def test_change_is_a_mean_over_pairs() -> None:
    """0, 1, 3, 6: neighbours are 2 apart in the mean, every second pair 4."""
    items = np.array([0.0, 1.0, 3.0, 6.0])[None, :, None]
    assert change(items, 1)[0, 0] == pytest.approx(2.0) and change(items, 2)[0, 0] == pytest.approx(4.0)


def test_what_is_restless_is_told_from_what_is_still() -> None:
    """One channel of forty jumps up or down in half of the clips: its change tells, its mean does not."""
    random = np.random.default_rng(3)
    labels = np.arange(80) % 2
    items = random.normal(size=(80, 8, 40))
    items[:, :, 7] += 4 * (labels == 0)[:, None] * random.choice([-1, 1], size=(80, 8))
    folds = [np.flatnonzero(np.arange(80) // 16 == part) for part in range(5)]
    told = {name: protocols.classified(regressed(STATISTICS[name](items), labels, folds), labels.tolist())["auc"]
            for name in STATISTICS}  # fmt: skip
    assert min(told["next"], told["changes"], told["deviation"]) > 0.75 > told["mean"] + 0.1
