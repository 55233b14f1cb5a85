"""Camera streams rendered for calibration, kept by renderer and seed: video files, and one truth for all of them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines import folders
from trainer.errors import RecipeError
from trainer.scenes.commands import Recording, render_cameras, renderer_version
from trainer.scenes.vocabulary import split_of

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Recorded:
    """Video files by camera id, and the truth about them in the form of `scenes render`."""

    files: dict[str, Path]
    truth: dict[str, Any]

    @property
    def hours(self) -> float:
        """Length of all streams together."""
        return sum(float(camera["seconds"]) for camera in self.truth["cameras"]) / 3600

    def write_truth(self, path: Path) -> Path:
        """Write the truth as JSON for `actionwire evaluate`."""
        path.write_text(json.dumps(self.truth), "utf-8")
        return path


def seeds_of(text: str) -> range:
    """`10100-10119` or `10100` as a range. Raises RecipeError for what is none, or not of the validation split."""
    first, dash, last = text.partition("-")
    try:
        found = range(int(first), int(last if dash else first) + 1)
    except ValueError:
        raise RecipeError(f"{text!r} names no seeds; write FIRST-LAST, such as 10100-10119") from None
    if not found or any(split_of(seed) != "validate" for seed in (found[0], found[-1])):
        raise RecipeError(f"seeds {text} are not of the validation range; name some of 10000-19999")
    return found


def cache_directory() -> Path:
    """Where recordings are kept unless the user says otherwise."""
    return folders.cache_directory() / "validation"


def record(
    seeds: Sequence[int], cameras: int, recording: Recording, cache: Path, progress: Progress = lambda done, of: None
) -> Recorded:
    """The streams of `cameras` cameras per seed, rendered into `cache` unless they already lie there.

    Camera ids are `SEED-camera-N`, so that streams of several seeds meet in one replay.
    """
    files: dict[str, Path] = {}
    entries: list[dict[str, Any]] = []
    for done, seed in enumerate(seeds):
        folder = cache / f"{renderer_version()}-{seed}-{cameras}x{recording.seconds:g}-{_form(recording)}"
        if not (folder / "truth.json").exists():
            _render(folder, seed, cameras, recording)
        truth = json.loads((folder / "truth.json").read_text("utf-8"))
        for camera in truth["cameras"]:
            name = f"{seed}-{camera['id']}"
            files[name] = folder / camera["file"]
            entries.append({**camera, "id": name, "seconds": truth["seconds"]})
        progress(done + 1, len(seeds))
    return Recorded(files, {"schema": 1, "seconds": recording.seconds, "fps": recording.fps, "cameras": entries})


def _form(recording: Recording) -> str:
    width, height = recording.size
    return f"{width}x{height}@{recording.fps}-{recording.density:g}"


def _render(folder: Path, seed: int, cameras: int, recording: Recording) -> None:
    making = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        render_cameras(making, seed, cameras, recording, workers=len(os.sched_getaffinity(0)))
        shutil.rmtree(folder, ignore_errors=True)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
