"""Training material in bulk: streams rendered at a low rate by a pool of processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.scenes.encode import compress
from trainer.scenes.render import render
from trainer.scenes.script import draw_stream, under_way
from trainer.scenes.stage import Scene
from trainer.scenes.vocabulary import Pairs

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Chunk:
    """A rendered stream: frames uint8 [n, H, W, 3] RGB, their times float64 [n] (s), the scene with its events.

    `active` bool [n, 16] says which actions (in the order of `vocabulary.KEYS`) are under way at each frame.
    """

    frames: Frames
    times: NDArray[np.float64]
    scene: Scene
    active: NDArray[np.bool_]


def chunk(
    seed: int, seconds: float, rate: float, size: tuple[int, int], model_size: tuple[int, int] | None = None, *,
    density: float = 1.0, pairs: Pairs | None = None, damage: bool = True,
) -> Chunk:  # fmt: skip
    """One stream drawn and rendered at `rate` frames/s, compressed (`damage`), scaled by area to `model_size` (w, h).

    The first frame lies at a random phase of the grid, as a camera's does.
    """
    rng = np.random.default_rng([seed, 3])
    scene = draw_stream(seed, seconds, density=density, pairs=pairs)
    times = np.arange(float(rng.uniform(0, 1 / rate)), seconds, 1 / rate)
    frames = render(scene, times, size)
    if damage:
        frames = compress(frames, rng)
    if model_size is not None and model_size != size:
        frames = np.stack([cv2.resize(frame, model_size, interpolation=cv2.INTER_AREA) for frame in frames])
    return Chunk(frames, times, scene, under_way(scene.events, times))


def chunks(
    seeds: Iterable[int], seconds: float = 60.0, rate: float = 4.0, size: tuple[int, int] = (160, 120),
    model_size: tuple[int, int] | None = None, *, workers: int = 2, density: float = 1.0, pairs: Pairs | None = None,
    damage: bool = True,
) -> Iterator[Chunk]:  # fmt: skip
    """A chunk per seed, in the order of the seeds, rendered by `workers` processes (0: in this one).

    The same seeds and settings give the same chunks whatever the number of workers.
    """
    options = {"density": density, "pairs": pairs, "damage": damage}
    if workers == 0:
        for seed in seeds:
            yield chunk(seed, seconds, rate, size, model_size, **options)
        return
    todo = iter(seeds)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=one_thread) as pool:

        def submit(seed: int) -> Future[Chunk]:
            return pool.submit(chunk, seed, seconds, rate, size, model_size, **options)

        waiting = [submit(seed) for seed in islice(todo, 2 * workers)]
        while waiting:
            done = waiting.pop(0).result()
            waiting.extend(submit(seed) for seed in islice(todo, 1))
            yield done


def one_thread() -> None:
    """Keep OpenCV to one thread: the processes share the cores already."""
    cv2.setNumThreads(1)
