"""What the cameras of a chaos run show: colours drawn from a seed, with gaps, repeats, sessions and bad frames. Pure.

tick      0...............................................................
camera    grey  cyan  grey   . . red red . . . . grey |end| (away) cyan ...
                            gap that is filled   long gap    new session
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from engines.testing import COLOURS
from pipeline.analysis.ticks import tick_ns
from pipeline.records.frames import EndMarker, FrameRecord, StreamRecord
from pipeline.records.jpeg import encode_jpeg

RATE = 4
SHOWN = ("cyan", "magenta", "red", "green", "blue", "yellow")
"""Colours that a camera may show between grey ones; which of them are watched for changes during the run."""
FIRST_TICK = RATE * 1_767_225_600

_JPEGS = {name: encode_jpeg(np.full((32, 32, 3), colour, np.uint8)) for name, colour in COLOURS.items()}


@dataclass(slots=True)
class Camera:
    """One camera; `step` is called once per tick, `finish` at the end."""

    name: str
    random: random.Random
    away_ticks: int
    """How long a camera stays silent where the worker should notice that it is lost."""
    session: int = 1
    tick: int = FIRST_TICK
    _sequence: int = 0
    _colours: Iterator[str] = field(init=False)
    _silent: int = 0
    _last: FrameRecord | None = None

    def __post_init__(self) -> None:
        self._colours = self._show()

    def step(self) -> list[StreamRecord]:
        """The records of the next tick."""
        self.tick += 1
        colour = next(self._colours)
        if self._silent:
            self._silent -= 1
            return []
        chance = self.random.random()
        for limit, happens in _HAPPENS:
            if chance < limit:
                return happens(self, colour)
            chance -= limit
        return [self._frame(colour)]

    def finish(self) -> list[StreamRecord]:
        """A last frame and the end of its session, which closes whatever was open."""
        self.tick += 1
        return [self._frame("grey"), *self._end("removed" if self.random.random() < 0.5 else "lost")]

    def _show(self) -> Iterator[str]:
        while True:
            yield from ["grey"] * self.random.randint(4, 14)
            yield from [self.random.choice(SHOWN)] * self.random.randint(4, 18)

    def _frame(self, colour: str) -> FrameRecord:
        jpeg = _JPEGS[colour]
        captured = tick_ns(self.tick, RATE, self.name)
        self._last = FrameRecord(
            self.name, self.session, self._sequence, self.tick, RATE, captured, "arrival", 32, 32, jpeg
        )
        self._sequence += 1
        return self._last

    def _end(self, reason: str) -> list[StreamRecord]:
        if self._last is None:
            return []
        marker = EndMarker(self.name, self.session, self._last.tick, reason)  # type: ignore[arg-type]
        self.session, self._sequence, self._last = self.session + 1, 0, None
        return [marker]

    def _skip(self, colour: str) -> list[StreamRecord]:
        self._silent = self.random.choice((1, 1, 2, 8))
        return []

    def _repeat(self, colour: str) -> list[StreamRecord]:
        last = self._last
        return [last, self._frame(colour)] if last else [self._frame(colour)]

    def _spoil(self, colour: str) -> list[StreamRecord]:
        frame = self._frame(colour)
        return [replace(frame, jpeg=b"not a picture " * 100)]

    def _restart(self, colour: str) -> list[StreamRecord]:
        self.session, self._sequence = self.session + 1, 0
        return [self._frame(colour)]

    def _leave(self, colour: str) -> list[StreamRecord]:
        self._silent = self.random.randint(2, 20)
        return self._end(self.random.choice(("replaced", "lost")))

    def _vanish(self, colour: str) -> list[StreamRecord]:
        """Fall silent without a word: a worker has to notice. What comes back is a new session."""
        self._silent = self.away_ticks
        self.session, self._sequence, self._last = self.session + 1, 0, None
        return []


_HAPPENS = (
    (0.020, Camera._skip),
    (0.005, Camera._repeat),
    (0.003, Camera._spoil),
    (0.006, Camera._restart),
    (0.004, Camera._leave),
    (0.001, Camera._vanish),
)
"""What happens instead of a plain frame, with its probability per tick."""


def cameras(count: int, seed: int, away_ticks: int) -> list[Camera]:
    """The cameras of a run."""
    return [Camera(f"cam-{number}", random.Random(f"{seed}/{number}"), away_ticks) for number in range(count)]
