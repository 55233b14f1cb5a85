"""The demo model from scratch: train, export, calibrate, seal, and replace the shipped bundle."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path

from engines.bundle import files as bundles
from trainer.errors import ExportError
from trainer.progress import Report, silent

RECIPE = Path(str(files("trainer.recipes") / "demo.yaml"))
SHIPPED = Path(str(files("engines.bundles") / "demo"))
BETA = 0.15
"""F-beta that the demo's thresholds maximise: to someone who watches four screens, one false alarm is as bad as some
forty misses.
"""
LARGEST_BYTES = 20 * 2**20
"""Largest bundle that is shipped with the package."""


def make(
    work: Path,
    out: Path = SHIPPED,
    *,
    recipe: Path = RECIPE,
    overrides: tuple[str, ...] = (),
    device: str = "cpu",
    beta: float = BETA,
    cache: Path | None = None,
    report: Report = silent,
) -> bundles.Manifest:
    """Train by a recipe in the run folder `work` (resuming a run there) and replace the bundle `out`.

    Thresholds maximise F-`beta`. The draft and the calibrated bundle are made in `work` too; `out` changes only when
    the new bundle is complete.
    Raises what the parts raise, and ExportError when the bundle is larger than may be shipped.
    """
    from trainer.calibration.calibrate import calibrate
    from trainer.calibration.threshold_search import Measure
    from trainer.demo.recordings import Streams
    from trainer.demo.source import SCENES
    from trainer.export.trained import export
    from trainer.recipe import load
    from trainer.training import loop

    loop.train(load(recipe, overrides), SCENES, work, device=device, report=report)
    draft, sealed = work / "draft", work / "bundle"
    for old in (draft, sealed):
        shutil.rmtree(old, ignore_errors=True)
    export(work, draft, SCENES.texts, progress=lambda step: report("export", 0, 1, step))
    report("export", 1, 1, "")
    material = Streams().material(cache, report)
    manifest = calibrate(draft, sealed, material, measure=Measure(beta), report=report)
    replace(sealed, out)
    return manifest


def replace(new: Path, out: Path) -> None:
    """Put a copy of the sealed bundle `new` in place of `out`. Raises ExportError when it is too large."""
    bundles.load(new)
    size = sum(entry.stat().st_size for entry in new.iterdir())
    if size > LARGEST_BYTES:
        raise ExportError(
            f"the bundle {new} has {size / 2**20:.1f} MiB, {LARGEST_BYTES / 2**20:.0f} may be shipped; train a slimmer "
            f"tower, or use it where it lies"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    coming, going = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old")
    for rest in (coming, going):
        shutil.rmtree(rest, ignore_errors=True)
    shutil.copytree(new, coming)
    if out.exists():
        out.replace(going)
    coming.replace(out)
    shutil.rmtree(going, ignore_errors=True)
