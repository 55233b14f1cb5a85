"""Learning rates and parameter groups."""

from __future__ import annotations

import pytest
from torch import nn

from trainer import schedule
from trainer.config import Optimiser, Recipe


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


def test_a_frozen_stage_begins_its_own_curve(tiny_recipe: Recipe) -> None:
    """While the tower learns the rate goes down once over all stages; a frozen stage warms up and goes down anew.

    rate  /\\__      /\\_
    step  0     49 50  64
    """
    rates = [schedule.rate_at(tiny_recipe, step) for step in range(tiny_recipe.steps)]
    warmup = tiny_recipe.optimiser.warmup_steps
    assert rates[warmup - 1] == pytest.approx(tiny_recipe.optimiser.rate)
    assert all(later < earlier for earlier, later in zip(rates[warmup - 1 : 49], rates[warmup:50], strict=True))
    assert rates[49] < 1e-5 and rates[50] == pytest.approx(tiny_recipe.stages[-1].rate / warmup)
    assert max(rates[50:]) == pytest.approx(tiny_recipe.stages[-1].rate) and rates[-1] < 1e-4
