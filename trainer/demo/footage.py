"""Sampled frames of rendered streams and their truth, as one memory map on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from trainer.demo.targets import Events, events_of
from trainer.progress import Count
from trainer.scenes.commands import renderer_version
from trainer.scenes.picture.encode import compress
from trainer.scenes.picture.render import render
from trainer.scenes.script import draw_clip, draw_stream
from trainer.scenes.stage import Scene
from trainer.scenes.vocabulary import COLOURS, KEYS, Pairs, allowed

Row = tuple[str, float, float, tuple[str | None, ...]]

_FORM = 3  # version of the stored form; another one, another renderer or another plan renders again
_FEW = 1500  # so many frames are rendered sooner than other processes start
_SCALE = 2  # cameras have more pixels than the model's input: draw larger, compress, scale down


@dataclass(frozen=True)
class Plan:
    """What to render: scenes by seed, `seconds` each, at `rate` pictures per second, height x width.

    `kind` is `stream` (a camera with many actions) or `clip` (one action, or none, from beginning to end). `pairs` says
    which pairs of action and colour may appear; `density` how close a stream's actions follow each other; `jitter` how
    far into a sampling period the first frame may lie.
    """

    kind: str
    first_seed: int
    count: int
    seconds: float
    rate: int
    height: int
    width: int
    pairs: Pairs
    density: float = 1.0
    jitter: float = 1.0

    @property
    def ticks(self) -> int:
        """Sampled frames per scene."""
        return int(self.seconds * self.rate)

    def key(self) -> str:
        """A short hash of the plan, the cache key of its footage."""
        text = json.dumps([_FORM, renderer_version(), asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Stretch:
    """One scene in the footage: `ticks` frames from frame `first` on; that of tick j is due at (j + phase)/rate."""

    seed: int
    first: int
    ticks: int
    rate: int
    phase: float
    rows: tuple[Row, ...]

    @cached_property
    def events(self) -> Events:
        """The truth as columns."""
        return events_of(self.rows)

    def seconds(self, tick: int | npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """When the frames of these ticks were captured, in seconds from the scene's beginning."""
        return (np.asarray(tick, np.float64) + self.phase) / self.rate


@dataclass(frozen=True)
class Footage:
    """Frames, and the stretches they belong to: pictures uint8 [N, H, W, 3] RGB, or their items float16 [N, D]."""

    frames: npt.NDArray[Any]
    stretches: tuple[Stretch, ...]

    def pictures(self, stretch: Stretch, tick: int, count: int) -> npt.NDArray[Any]:
        """`count` consecutive frames of a stretch, a view."""
        begin = stretch.first + tick
        return self.frames[begin : begin + count]


def open_footage(folder: Path, plan: Plan, progress: Count | None = None, workers: int | None = None) -> Footage:
    """The footage of a plan, rendered into `folder` by `workers` processes unless it already lies there."""
    home = folder / f"{plan.kind}-{plan.key()}"
    if not (home / "index.json").exists():
        _render(home, plan, progress, workers or len(os.sched_getaffinity(0)))
    rows = json.loads((home / "index.json").read_text("utf-8"))
    stretches = tuple(
        Stretch(**{**row, "rows": tuple((key, start, end, tuple(who)) for key, start, end, who in row["rows"])})
        for row in rows
    )
    return Footage(np.load(home / "frames.npy", mmap_mode="r"), stretches)


def _render(home: Path, plan: Plan, progress: Count | None, workers: int) -> None:
    home.mkdir(parents=True, exist_ok=True)
    shape = (plan.count * plan.ticks, plan.height, plan.width, 3)
    np.lib.format.open_memmap(home / "frames.npy", "w+", np.uint8, shape).flush()
    jobs = [(home / "frames.npy", plan, index) for index in range(plan.count)]
    stretches: list[Stretch] = []
    with contextlib.ExitStack() as stack:
        rendered: Iterable[Stretch] = map(_render_one, jobs)
        if plan.count * plan.ticks > _FEW:
            # spawn: torch's threads do not survive a fork.
            rendered = stack.enter_context(multiprocessing.get_context("spawn").Pool(workers)).imap(_render_one, jobs)
        for stretch in rendered:
            stretches.append(stretch)
            if progress is not None:
                progress(len(stretches), plan.count)
    partial = home / "index.json.partial"
    partial.write_text(json.dumps([_as_row(stretch) for stretch in stretches]), "utf-8")
    partial.replace(home / "index.json")


def _as_row(stretch: Stretch) -> dict[str, object]:
    names = ("seed", "first", "ticks", "rate", "phase", "rows")
    return {name: getattr(stretch, name) for name in names}


def _render_one(job: tuple[Path, Plan, int]) -> Stretch:
    path, plan, index = job
    cv2.setNumThreads(1)
    seed = plan.first_seed + index
    rng = np.random.default_rng([seed, 7])
    phase = float(rng.uniform(0.0, plan.jitter))
    scene = draw(plan, seed)
    times = (np.arange(plan.ticks) + phase) / plan.rate
    frames = np.load(path, mmap_mode="r+")
    first = index * plan.ticks
    pictures = compress(render(scene, times, (_SCALE * plan.width, _SCALE * plan.height)), rng)
    for tick, picture in enumerate(pictures):
        frames[first + tick] = cv2.resize(picture, (plan.width, plan.height), interpolation=cv2.INTER_AREA)
    rows = tuple((event.key, event.start, event.end, tuple(event.actors)) for event in scene.events)
    return Stretch(seed, first, plan.ticks, plan.rate, phase, rows)


def draw(plan: Plan, seed: int) -> Scene:
    """The scene of a seed under a plan. Clips go through the actions and, per action, through its allowed colours."""
    if plan.kind == "stream":
        return draw_stream(seed, plan.seconds, density=plan.density, pairs=plan.pairs)
    pairs = [(key, colour) for key in KEYS for colour in COLOURS if allowed(key, colour, plan.pairs)]
    key, colour = pairs[(seed - plan.first_seed) % len(pairs)]
    return draw_clip(seed, key, colour=colour, seconds=plan.seconds, pairs=plan.pairs)
