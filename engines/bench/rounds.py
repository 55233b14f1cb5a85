"""Rates of several calls, measured in turn, round after round, so that a neighbour's load falls on all of them.

A ratio is taken within each round and its median reported, with the spread that shows how much it can be trusted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Call:
    """Something to run again and again; `work` is what one run does, in whatever unit the rate shall have."""

    run: Callable[[], object]
    work: float


@dataclass(frozen=True, slots=True)
class Rates:
    """Work per second of every round: by the clock, and by this process's CPU time, which neighbours hardly change."""

    wall: list[float]
    cpu: list[float]


@dataclass(frozen=True, slots=True)
class Figure:
    """A median, with the quarter below and above which half of the rounds lie."""

    value: float
    low: float
    high: float

    def data(self) -> dict[str, float]:
        """Return the figure as plain JSON data."""
        return {"value": self.value, "low": self.low, "high": self.high}


def measure(
    calls: Mapping[str, Call],
    *,
    rounds: int,
    seconds: float,
    wall: Clock = time.perf_counter,
    cpu: Clock = time.process_time,
) -> dict[str, Rates]:
    """Return each call's rates of every round. seconds: of one call in one round, at least one run."""
    rates: dict[str, Rates] = {name: Rates([], []) for name in calls}
    for call in calls.values():
        call.run()
    for _ in range(rounds):
        for name, call in calls.items():
            began, spent, runs = wall(), cpu(), 0
            while not runs or wall() - began < seconds:
                call.run()
                runs += 1
            rates[name].wall.append(runs * call.work / (wall() - began))
            rates[name].cpu.append(runs * call.work / (cpu() - spent))
    return rates


def figure(values: Sequence[float]) -> Figure:
    """Return the median of the rounds with its quarters."""
    ordered = sorted(values)
    quarter = (len(ordered) - 1) // 4
    return Figure(median(ordered), ordered[quarter], ordered[-1 - quarter])


def ratio(above: Sequence[float], below: Sequence[float]) -> Figure:
    """Return the figure of the ratios of two calls, taken round by round."""
    return figure([one / other for one, other in zip(above, below, strict=True)])


def cost(with_it: Sequence[float], without: Sequence[float]) -> Figure:
    """Return the figure of the share of a rate that something costs, taken round by round; below 0 it costs nothing."""
    return figure([1 - one / other for one, other in zip(with_it, without, strict=True)])
