"""Learning rates and parameter groups."""

from __future__ import annotations

import pytest
from torch import nn

from trainer import schedule
from trainer.config import Optimiser


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0, 0), (1, 1e-6), (2.5, 2.5e-6), (5, 5e-6), (10, 4.849e-6), (27.5, 2.5e-6), (40, 5.849e-7), (50, 0)],
)
def test_golden_learning_rates(epoch: float, rate: float) -> None:
    """Linear from zero over five epochs, then a cosine to zero at fifty."""
    assert schedule.learning_rate(epoch, base=5e-6, warmup=5, total=50) == pytest.approx(rate, rel=2e-4, abs=1e-12)


def test_groups_learn_at_their_ratios() -> None:
    """Text tower, image tower and head get their shares of the rate, and every parameter is in exactly one group."""
    image, head = nn.Linear(2, 3), nn.Linear(4, 5)
    text = nn.ModuleDict({"visual": image, "words": nn.Embedding(6, 7)})
    optimiser = schedule.build_optimiser(Optimiser(image_ratio=0.5, head_ratio=10.0), text, image, head)
    schedule.set_rate(optimiser, 1e-3)
    sizes = {group["lr"]: sum(parameter.numel() for parameter in group["params"]) for group in optimiser.param_groups}
    ratio = Optimiser().text_ratio
    assert sizes == pytest.approx({1e-3 * ratio: 42, 5e-4: 9, 1e-2: 25})
