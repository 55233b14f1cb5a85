"""The moving average of a model's weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.training.averaging import Average


def test_the_average_follows_quickly_at_first_and_slowly_later() -> None:
    """After step s the decay is (1 + s) / (10 + s), and never more than what the recipe says."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = Average(model, 0.5)
    nn.init.ones_(model.weight)
    found = []
    for step in (0, 5, 1000):
        average.state["weight"].zero_()
        average.update(model, step)
        found.append(float(average.state["weight"]))
    assert found == pytest.approx([0.9, 0.6, 0.5])


def test_what_is_no_float_is_copied() -> None:
    """Counters of batch norms have no average."""
    model = nn.BatchNorm1d(2)
    average = Average(model, 0.9)
    model(torch.randn(4, 2))
    average.update(model, 0)
    assert int(average.state["num_batches_tracked"]) == 1
    assert average.state["num_batches_tracked"] is not model.num_batches_tracked


def test_a_plain_mean_begins_at_a_step() -> None:
    """Weights 0, 1, 2, 3, 4 after five steps: before the second step the weights themselves, then their mean."""
    line = nn.Linear(1, 1, bias=False)
    average, seen = Average(line, 0.9, since=2), []
    for step in range(5):
        with torch.no_grad():
            line.weight.fill_(float(step))
        average.update(line, step)
        seen.append(average.state["weight"].item())
    assert seen == pytest.approx([0, 1, 2, 2.5, 3])
