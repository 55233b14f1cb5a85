"""Camera streams rendered for calibration: video files and their truth, cached by renderer and seed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines import folders
from engines.bundle import files as bundles
from trainer.calibration.streams import PARTS, CameraTruth, Material, Recorded
from trainer.errors import CalibrationError, RecipeError
from trainer.progress import Count, Report, counted
from trainer.scenes.commands import Recording, camera_seed, render_cameras, renderer_version
from trainer.scenes.vocabulary import ACTIONS, split_of


@dataclass(frozen=True)
class Streams:
    """Which rendered streams to use. Seeds are ranges such as 10100-10119, all of the validation split.

    `fit` and `quiet` (nothing happens in those) decide the thresholds, `held_back` and `held_back_quiet` measure them.
    """

    fit: str = "10130-10153"
    quiet: str = "10200-10202"
    held_back: str = "10103-10108"
    held_back_quiet: str = "10204"
    cameras: int = 4
    seconds: float = 120.0

    def __post_init__(self) -> None:
        fitting = self._scenes(self.fit) | self._scenes(self.quiet)
        measuring = self._scenes(self.held_back) | self._scenes(self.held_back_quiet)
        if both := fitting.keys() & measuring.keys():
            scene = min(both, key=fitting.__getitem__)
            one, other = fitting[scene], measuring[scene]
            shared = f"seed {one}" if one == other else f"a camera of seed {one}, which seed {other} has too,"
            raise CalibrationError(f"{shared} would both fit and measure the thresholds; name others")

    def _scenes(self, seeds: str) -> dict[int, int]:
        """Scene seeds to run seeds. Neighbouring runs share no scene, but within a whole split some do."""
        return {camera_seed(seed, camera): seed for seed in seeds_of(seeds) for camera in range(1, self.cameras + 1)}

    def material(self, cache: Path | None, report: Report) -> Material:
        """These streams, rendered into `cache` (default: the user's cache folder) unless they lie there."""
        place = cache or cache_directory()

        def rendered(what: str, seeds: str, density: float) -> Recorded:
            recording = Recording(seconds=self.seconds, density=density)
            return record(seeds_of(seeds), self.cameras, recording, place, counted(report, f"render {what}"))

        return Material(
            fit=rendered("fit", self.fit, 1.0),
            quiet=rendered("quiet", self.quiet, 0.0),
            held_back=rendered("held-back", self.held_back, 1.0),
            held_back_quiet=rendered("held-back quiet", self.held_back_quiet, 0.0),
            labels=tuple(action.label for action in ACTIONS),
            sources={name: {"seeds": getattr(self, name)} for name in PARTS},
        )


def require_scenes(bundle: Path) -> None:
    """Raise CalibrationError for a bundle that knows no scenes: theirs would be thresholds of other labels."""
    loaded = bundles.load(bundle, allow_draft=True)
    references = loaded.references()
    known = {text for text, kind in zip(references.texts, references.kinds, strict=True) if kind == "action"}
    if not known.issuperset(action.label for action in ACTIONS):
        raise CalibrationError(
            f"{loaded.label} was not trained on rendered scenes, so their streams say nothing of its labels; name "
            "recordings of your own with --truth and --held-back-truth, or, for a run on clips, use "
            "`actionwire-trainer publish RUN`"
        )


def seeds_of(text: str) -> range:
    """`10100-10119` or `10100` as a range. Raises RecipeError otherwise, and outside the validation split."""
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
    seeds: Sequence[int], cameras: int, recording: Recording, cache: Path, progress: Count = lambda done, of: None
) -> Recorded:
    """The streams of `cameras` cameras per seed, rendered into `cache` unless they already lie there.

    Camera ids are `SEED-camera-N`, so that streams of several seeds meet in one replay.
    """
    files: dict[str, Path] = {}
    entries: list[CameraTruth] = []
    for done, seed in enumerate(seeds):
        folder = cache / f"{renderer_version()}-{seed}-{cameras}x{recording.seconds:g}-{_form(recording)}"
        if not (folder / "truth.json").exists():
            _render(folder, seed, cameras, recording)
        truth = json.loads((folder / "truth.json").read_text("utf-8"))
        for camera in truth["cameras"]:
            name = f"{seed}-{camera['id']}"
            files[name] = folder / camera["file"]
            entries.append({"id": name, "seconds": truth["seconds"], "actions": camera["actions"]})
        progress(done + 1, len(seeds))
    return Recorded(files, {"schema": 1, "cameras": entries})


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
