"""What a process holds, read from /proc, and whether it grows. Linux only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression

MEGABYTE = 1024 * 1024
STARTING_SECONDS = 360.0
"""Growth counts from here on: what comes once comes one after the other. A worker keeps sixteen label sets, with a
product of its own for each, and a soak changes labels every twenty seconds."""
LIMITS = {"megabytes": 0.5, "threads": 0.5, "descriptors": 0.5}
"""How much of each may come in a minute."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a process and its descendants hold at a moment."""

    seconds: float
    """Since the soak began."""
    megabytes: float
    threads: int
    descriptors: int
    cpu_seconds: float


def held(process: int, seconds: float) -> Held:
    """Sums over a process and its descendants; one that ends meanwhile counts as nothing."""
    found = [one for one in map(_one, _family(process)) if one is not None]
    memory, threads, descriptors, cpu = (sum(column) for column in zip(*found, strict=True)) if found else (0, 0, 0, 0)
    return Held(seconds, memory / MEGABYTE, round(threads), round(descriptors), cpu)


def growth(series: Sequence[Held], after: float = STARTING_SECONDS) -> dict[str, float] | None:
    """How much of each comes per minute, by the straight line through all that was seen; None where that is too little.

    A line through everything, and not the last less the first: cameras come and go by the minute.
    """
    late = [one for one in series if one.seconds >= after]
    if len(late) < 3:
        return None
    minutes = [one.seconds / 60 for one in late]
    return {name: linear_regression(minutes, [getattr(one, name) for one in late]).slope for name in LIMITS}


def grows(series: Sequence[Held], after: float = STARTING_SECONDS) -> list[str]:
    """What of it grows, in words."""
    found = growth(series, after) or {}
    return [f"{value:+.2f} {name} a minute" for name, value in found.items() if value > LIMITS[name]]


def _family(process: int) -> list[int]:
    children = [child for of in Path(f"/proc/{process}").glob("task/*/children") for child in _text(of).split()]
    return [process, *(one for child in children for one in _family(int(child)))]


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # the thread has ended meanwhile
        return ""


def _one(process: int) -> tuple[float, int, int, float] | None:
    of = Path(f"/proc/{process}")
    try:
        values = (of / "stat").read_text().rpartition(")")[2].split()
        resident = int((of / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        cpu = (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")
        return resident, int(values[17]), len(list((of / "fd").iterdir())), cpu
    except OSError:
        return None
