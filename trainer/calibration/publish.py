"""From a run to a bundle that workers can take: export, parity, calibration, probe, card, store.

Thresholds are fitted to the clips that were kept apart, spliced into background and replayed by the serving side. What
cannot be calibrated is sealed as it is, and manifest, card and caller say so.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from engines.bundle import files as bundles
from engines.bundle import store as stores
from engines.bundle.channels import STABLE, check_channel
from engines.bundle.files import Bundle, Manifest
from engines.bundle.store import Store
from engines.inspection import inspect
from trainer.calibration.calibrate import calibrate
from trainer.calibration.clip_material import FEWEST, Sides, material, sides
from trainer.calibration.spliced import Form
from trainer.calibration.threshold_search import Measure
from trainer.data.background import between
from trainer.data.manifest import Clip
from trainer.data.recipe_clips import clips_of, with_labels
from trainer.errors import ExportError, ParityError, RecipeError
from trainer.evaluation import report as reports
from trainer.export.card import card
from trainer.export.draft import check_version
from trainer.export.trained import checkpoint_of, export
from trainer.progress import Report, silent
from trainer.recipe import Recipe
from trainer.training.clips import texts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """A bundle in the store, and the card beside it."""

    bundle: Bundle
    card: str
    """Its path, or the address of an object."""


def publish(
    run: Path,
    store: Store,
    *,
    version: str | None = None,
    channel: str = STABLE,
    measure: Measure | None = None,
    report: Report = silent,
) -> Published:
    """Export the model of a run that was trained on clips, calibrate it to its validation clips, and publish it.

    version: of the bundle, where it is another than the recipe's. channel: which then stands on it. Nothing is
    published when a step fails. Raises CheckpointError without a checkpoint, RecipeError for a run of rendered scenes
    and for a list of clips that changed since, ExportError for a version that is taken, ParityError, CommandError,
    CalibrationError, EngineError.
    """
    from trainer.training.checkpoint import load_recipe

    version = version and check_version(version)
    check_channel(channel)
    recipe = load_recipe(checkpoint_of(run))
    clips = _clips(run, recipe)
    _free(store, recipe.name, version or recipe.version)
    with tempfile.TemporaryDirectory(prefix="actionwire-") as name:
        folder = Path(name)
        draft, sealed = folder / "draft", folder / "bundle"
        export(
            run,
            draft,
            texts,
            progress=lambda step: report("export", 0, 1, step),
        )
        report("export", 1, 1, "torch and ONNX agree")
        manifest = _sealed(draft, sealed, recipe, clips, version, measure, report)
        _probe(sealed, report)
        figures = reports.read(run) if (run / reports.REPORT).is_file() else {}
        text = card(manifest, recipe, clips, figures)
        bundle = stores.publish(store, sealed, channel)
    return Published(bundle, stores.attach(store, bundle, text))


def _clips(run: Path, recipe: Recipe) -> list[Clip]:
    """The clips that the run was trained on, with its splits. Raises RecipeError where they are others now."""
    if recipe.data.clips is None:
        raise RecipeError(
            f"{run} was trained on rendered scenes, which have no clips to calibrate with; use `actionwire-trainer "
            "export`, `calibrate` and `actionwire-engines publish`"
        )
    clips = clips_of(recipe)
    if with_labels(recipe).data.clips_hash != recipe.data.clips_hash:
        raise RecipeError(
            f"{recipe.data.clips} or its files changed since {run} was trained; put them back, or train anew: "
            "thresholds must be fitted to clips that were kept apart"
        )
    return clips


def _free(store: Store, name: str, version: str) -> None:
    """Refuse a version that is taken before the work begins: what is published keeps its version."""
    if isinstance(store, Path):
        taken = (store / name / version).exists()
    else:
        taken = any((one.name, one.version) == (name, version) for one in stores.entries(store))
    if taken:
        raise ExportError(f"{store} holds {name}@{version} already; give this one a new version with --version")


def _sealed(
    draft: Path,
    out: Path,
    recipe: Recipe,
    clips: list[Clip],
    version: str | None,
    measure: Measure | None,
    report: Report,
) -> Manifest:
    """The bundle, calibrated where the clips allow it; else sealed as uncalibrated, with the reason."""
    manifest = bundles.load(draft, allow_draft=True).manifest
    labels = recipe.model.labels
    implied = between(clips, manifest.window.frames / manifest.window.rate) if recipe.data.between else []
    chosen = sides([*clips, *implied], labels, recipe.seed)
    for label, reason in chosen.uncalibrated.items():
        log.warning("%s gets no thresholds of its own: %s", label, reason)
    if not chosen.labels:
        return _uncalibrated(draft, out, chosen, version)
    with tempfile.TemporaryDirectory(prefix="actionwire-") as folder:
        streams = material(chosen, Form(manifest.window, manifest.input), Path(folder), report)
        return calibrate(draft, out, streams, measure=measure, version=version, report=report)


def _uncalibrated(draft: Path, out: Path, chosen: Sides, version: str | None) -> Manifest:
    reason = (
        f"no label has {FEWEST} clips in the split `validate`; name more there, or calibrate to recordings of your "
        "own: actionwire-trainer calibrate --truth"
    )
    log.warning("the bundle is NOT calibrated, its thresholds are set by hand: %s", reason)
    shutil.copytree(draft, out)
    events = bundles.load(out, allow_draft=True).manifest.events
    said = {"reason": reason, "uncalibrated": chosen.uncalibrated}
    return bundles.seal(out, events=events.model_copy(update={"report": said}), version=version)


def _probe(bundle: Path, report: Report) -> None:
    """The golden probe on every backend of this machine. Raises ParityError."""
    report("probe", 0, 1, "")
    found = inspect(bundles.load(bundle))
    if found.failed:
        reasons = "; ".join(f"{name}: {probe.failure}" for name, probe in found.probes.items() if probe.failure)
        raise ParityError(f"the golden probe fails: {reasons}")
    report("probe", 1, 1, ", ".join(name for name, probe in found.probes.items() if probe.unavailable is None))
