"""Rounds: rates by two clocks, and ratios with their spread."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engines.bench.products import SHAPES, products
from engines.bench.rounds import Call, cost, figure, measure, ratio


def ticking(step: float) -> Callable[[], float]:
    """A clock that moves on by `step` whenever it is read."""
    now = [0.0]

    def read() -> float:
        now[0] += step
        return now[0]

    return read


def test_calls_take_turns() -> None:
    """One warm-up each, then round after round in the same order."""
    order: list[str] = []
    calls = {name: Call(lambda name=name: order.append(name), 1) for name in "ab"}  # type: ignore[misc]
    measure(calls, rounds=2, seconds=0)
    assert "".join(order) == "ababab"


def test_rates_are_work_per_second_of_each_clock() -> None:
    """One run of 6 units between two readings of each clock."""
    rates = measure({"a": Call(lambda: None, 6)}, rounds=3, seconds=0, wall=ticking(1.5), cpu=ticking(0.5))
    assert rates["a"].cpu == pytest.approx([12, 12, 12])
    assert len(rates["a"].wall) == 3 and all(0 < rate <= 4 for rate in rates["a"].wall)


def test_a_ratio_is_taken_within_each_round() -> None:
    """A neighbour that halves both rates in one round changes nothing."""
    assert ratio([10, 5, 12], [5, 2.5, 6]).data() == {"value": 2, "low": 2, "high": 2}


def test_a_cost_is_the_share_of_the_rate_that_is_gone() -> None:
    """Taken within each round; a rate that rose cost nothing."""
    assert cost([9, 4.5, 6], [10, 5, 10]).value == pytest.approx(0.1)
    assert cost([9], [10]).value == pytest.approx(0.1) and cost([12], [10]).value < 0


def test_a_figure_names_the_middle_half() -> None:
    """The median, and what lies a quarter in from both ends."""
    assert figure([9, 1, 5, 3, 7]).data() == {"value": 5, "low": 3, "high": 7}
    assert figure([4]).data() == {"value": 4, "low": 4, "high": 4}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_products_count_their_operations(precision: str) -> None:
    """Three shapes, one product per stream at a time."""
    calls = products(precision, 2)  # type: ignore[arg-type]
    assert [call.work for call in calls.values()] == [2.0 * m * k * n * 2 for m, k, n in SHAPES]
    next(iter(calls.values())).run()
