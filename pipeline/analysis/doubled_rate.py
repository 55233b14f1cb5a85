"""Whether one bundle says more than twice as many events as another: the rule, for workers and for `events diff`. Pure.

Both counts are of chance, so twice as many of few is no sign. If the true rate had exactly doubled, then of all events
together each falls to the second bundle with the chance p = 2 t2 / (t1 + 2 t2), t being the time that each was
watching. The rate is called more than doubled where as many as were counted, or more, have a probability below `CHANCE`
then (a one-sided conditional test of two Poisson counts).

    1 hour each    3 events, then  9    no: fewer than LEAST_EVENTS
                   3 events, then 40    yes
                  40 events, then 80    no: exactly twice as many
                  40 events, then 150   yes
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, log, log1p

FACTOR = 2.0
LEAST_EVENTS = 10
"""Events that the second bundle must have started before it is judged."""
CHANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Counted:
    """Events that a bundle started."""

    events: int
    hours: float
    """Camera-hours that it was watching."""

    def __str__(self) -> str:
        """As a person reads it."""
        return f"{self.events} in {self.hours:.3g} camera-hours"


def more_than_doubled(before: Counted, after: Counted) -> bool:
    """Whether the rate of `after` is more than twice that of `before`, beyond chance."""
    if after.events < LEAST_EVENTS or before.hours <= 0 or after.hours <= 0:
        return False
    share = FACTOR * after.hours / (before.hours + FACTOR * after.hours)
    return _at_least(after.events, before.events + after.events, share) < CHANCE


def _at_least(events: int, of: int, chance: float) -> float:
    """Return the probability of so many successes, or more, of `of` attempts with this chance."""
    if chance >= 1.0:  # the other time is too short to count
        return 1.0
    logs = [
        lgamma(of + 1) - lgamma(k + 1) - lgamma(of - k + 1) + k * log(chance) + (of - k) * log1p(-chance)
        for k in range(events, of + 1)
    ]
    return min(1.0, sum(map(exp, logs)))
