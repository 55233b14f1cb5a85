"""How long to wait before the next attempt: exponential backoff with full jitter. Pure but for its random numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

_REFUSALS = 3
"""From this refusal on, the login is tried rarely."""


@dataclass(slots=True)
class Backoff:
    """Waits of `base`, 2 `base`, 4 `base` ... seconds, at most `cap`, each drawn evenly between 0 and that bound.

    Full jitter spreads the attempts of many cameras that were lost together.
    """

    base: float
    cap: float
    random: random.Random = field(default_factory=random.Random)
    failures: int = 0
    refusals: int = 0
    """How often in a row the login was refused."""

    def next(self, *, hopeless: bool = False) -> float:
        """Seconds to wait after one more failure.

        hopeless: the camera refuses our request, so every wait lies between half of `cap` and `cap`.
        """
        bound = min(self.cap, self.base * 2.0 ** min(self.failures, 60))
        self.failures += 1
        return self.random.uniform(self.cap / 2, self.cap) if hopeless else self.random.uniform(0, bound)

    def refused(self) -> float:
        """Seconds to wait after the camera refused the login once more.

        A camera that boots may refuse the right one for a while, so it is tried twice more within `cap`. Then waits
        grow to sixty times `cap`, since cameras lock an account after a few wrong passwords.
        """
        self.refusals += 1
        if self.refusals < _REFUSALS:
            return self.random.uniform(self.cap / 4, self.cap / 3)
        bound = self.cap * min(60.0, 20.0 * 2.0 ** min(self.refusals - _REFUSALS, 6))
        return self.random.uniform(bound / 2, bound)

    def accepted(self) -> None:
        """The camera took the login."""
        self.refusals = 0

    def reset(self) -> None:
        """Begin with short waits again: the camera works."""
        self.failures = 0
