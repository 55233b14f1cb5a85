"""`actionwire-trainer scenes clips`: a clip of each action, again and again, as a list to train on.

Some actions can be kept for validation and some for the test alone, drawn by seed: those are never trained, and taught
by example.
"""

from __future__ import annotations

import csv
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from trainer.data.encode import encode_mp4
from trainer.errors import RecipeError
from trainer.scenes.picture.render import render
from trainer.scenes.script import draw_clip
from trainer.scenes.vocabulary import ACTIONS, BY_KEY, SPLIT_SIZE, Split

MOST = 500
"""Clips of an action. More of them are the same ones and others."""
_BITS_PER_PIXEL = 0.6
_FIRST_SEED: dict[Split, int] = {"train": 0, "validate": SPLIT_SIZE, "test": 2 * SPLIT_SIZE}


@dataclass(frozen=True)
class Form:
    """What all clips share: length in seconds, frames per second, (width, height)."""

    seconds: float = 3.0
    fps: int = 8
    size: tuple[int, int] = (160, 120)


def kept_apart(validate: int, test: int, seed: int) -> dict[str, Split]:
    """The split of each action by its key: `validate` and `test` of them, drawn by `seed`, are never trained.

    Raises RecipeError where fewer than two are left to train on.
    """
    if len(ACTIONS) - validate - test < 2:
        raise RecipeError(f"there are {len(ACTIONS)} actions, and {validate + test} are kept apart; leave two to train")
    order = np.random.default_rng(seed).permutation([action.key for action in ACTIONS])
    split: dict[str, Split] = {str(key): "train" for key in order}
    split |= {str(key): "test" for key in order[:test]}
    return split | {str(key): "validate" for key in order[test : test + validate]}


def render_clips(
    folder: Path, split: dict[str, Split], count: int, form: Form, workers: int, progress: Callable[[int], None]
) -> None:
    """Render `count` clips of each action into `folder`, and write their list, `labels.csv`, beside them.

    Equal arguments give equal files. `progress` is called with the number of clips done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        (action.key, _FIRST_SEED[split[action.key]] + place * MOST + number)
        for place, action in enumerate(ACTIONS)
        for number in range(count)
    ]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(_render_one, folder, key, seed, form) for key, seed in jobs]
        for done, finished in enumerate(as_completed(waiting), 1):
            finished.result()
            progress(done)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("path", "label", "split"))
        writer.writerows((_file(key, seed), BY_KEY[key].label, split[key]) for key, seed in jobs)


def _file(key: str, seed: int) -> str:
    return f"{key}-{seed}.mp4"


def _render_one(folder: Path, key: str, seed: int, form: Form) -> None:
    cv2.setNumThreads(1)  # one process per core is enough
    scene = draw_clip(seed, key, seconds=form.seconds)
    frames = render(scene, np.arange(round(form.seconds * form.fps)) / form.fps, form.size)
    bitrate = int(_BITS_PER_PIXEL * form.size[0] * form.size[1] * form.fps)
    encode_mp4(iter(frames), folder / _file(key, seed), form.fps, bitrate)


def clips_command(
    out: Annotated[Path, typer.Option(help="Folder for the clips and labels.csv; made where missing.")],
    count: Annotated[int, typer.Option(min=1, max=MOST, help="Clips of each action.")] = 40,
    validate: Annotated[int, typer.Option(min=0, help="Actions for validation alone.")] = 2,
    test: Annotated[int, typer.Option(min=0, help="Actions for the test alone.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Draws which actions those are.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that render at once.")] = 2,
) -> None:
    """Render a clip of each action, again and again, with some actions that are never trained."""
    from trainer.progress import Bars

    split = kept_apart(validate, test, seed)
    total = count * len(ACTIONS)
    with Bars() as bars:
        render_clips(out, split, count, Form(), workers, lambda done: bars.report("render", done, total, ""))
    for name in ("train", "validate", "test"):
        typer.echo(f"{name}: {', '.join(action.label for action in ACTIONS if split[action.key] == name)}")
