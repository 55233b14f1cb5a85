"""How long to wait before the next attempt: exponential backoff with full jitter. Pure but for its random numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Waits of `base`, 2 `base`, 4 `base` ... seconds, at most `cap`, each drawn evenly between 0 and that bound.

    Full jitter spreads the attempts of many cameras that were lost together.
    """

    base: float
    cap: float
    random: random.Random = field(default_factory=random.Random)
    failures: int = 0

    def next(self, *, hopeless: bool = False) -> float:
        """Seconds to wait after one more failure.

        hopeless: the camera refuses our request, so every wait lies between half of `cap` and `cap`. Wrong passwords
        in quick succession lock accounts.
        """
        bound = min(self.cap, self.base * 2.0 ** min(self.failures, 60))
        self.failures += 1
        return self.random.uniform(self.cap / 2, self.cap) if hopeless else self.random.uniform(0, bound)

    def reset(self) -> None:
        """Begin with short waits again: the camera works."""
        self.failures = 0
