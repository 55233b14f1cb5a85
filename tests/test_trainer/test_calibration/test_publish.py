"""From a run on clips to a bundle in the store, by the real commands of the serving side."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from engines.bundle import files as bundles
from engines.bundle.store import resolve
from engines.errors import BundleNotFound
from trainer.calibration.publish import Published, publish
from trainer.cli import app
from trainer.data.encode import encode_mp4
from trainer.demo.recordings import require_scenes
from trainer.errors import CalibrationError, ExportError, RecipeError
from trainer.recipe import Recipe
from trainer.training import loop
from trainer.training.clips import CLIPS

RAMP = np.linspace(10, 240, 20)


def list_of(folder: Path, splits: tuple[str, ...]) -> Path:
    """For each split one clip of 2 s that grows brighter and one that grows darker; and one of grey background; all but
    the first say of it that it is a grey wall.

    brighter-0.mp4  train     darker-0.mp4  train     quiet-0.mp4  train, background
    brighter-1.mp4  validate  darker-1.mp4  validate  quiet-1.mp4  validate, background     ...
    """
    folder.mkdir(exist_ok=True)
    with (folder / "labels.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("path", "label", "split", "role"))
        for number, split in enumerate(splits):
            for label, levels in (
                ("brighter", RAMP),
                ("darker", RAMP[::-1]),
                ("quiet", np.full(20, 60.0 + 16 * number)),
            ):
                name, shift = f"{label}-{number}.mp4", 0.7 * number
                pictures = (np.full((64, 64, 3), level + shift, np.uint8) for level in levels)
                encode_mp4(pictures, folder / name, 10, 400_000)
                action = label != "quiet"
                said = f"gets {label}" if action else "a grey wall" if number else ""
                rows.writerow((name, said, split, "action" if action else "background"))
    return folder


@pytest.fixture(scope="module")
def make_run(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Recipe, exporter: None) -> Callable[..., Path]:
    """Train the tiny model on a list for a few steps."""

    def make(*splits: str) -> Path:
        folder = tmp_path_factory.mktemp("clips")
        kept = {"name", "start", "model", "optimiser", "checkpoint_every"}
        recipe = Recipe.model_validate(
            tiny_recipe.model_dump(mode="json", include=kept)
            | {
                "licence": "CC0-1.0",
                "data": {"clips": str(list_of(folder, splits)), "sampling": "window"},
                "stages": [{"steps": 10, "chunks": 6, "ticks": 4}],
            }
        )
        loop.train(recipe, CLIPS, folder / "run")
        return folder / "run"

    return make


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Path]) -> Path:
    """Three clips a label to train, three to validate, two to test."""
    return make_run(*["train"] * 3, *["validate"] * 3, *["test"] * 2)


@pytest.fixture(scope="module")
def published(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """That run in a store of its own."""
    return publish(run, tmp_path_factory.mktemp("published") / "store")


def test_a_run_is_published_calibrated_to_its_own_clips(published: Published) -> None:
    """Thresholds state on how many seconds they were fitted, and the store holds bundle and card."""
    made, store = published, published.bundle.path.parents[1]
    manifest = bundles.load(resolve("tiny", store)).manifest
    report = manifest.events.report
    assert manifest == made.bundle.manifest and manifest.sealed and manifest.events.calibrated and report is not None
    assert report["clips"] == {"fit": {"gets brighter": 3, "gets darker": 3},
                               "held_back": {"gets brighter": 2, "gets darker": 2}}  # fmt: skip
    assert report["fitted_on"]["clips"] == "validate" and report["held_back"]["clips"] == "test"
    assert report["fitted_on"]["actions"] == 6 and report["quiet_shows"] == "background clips"
    # Six clips of 2 s, and seven stretches of a window and 2 s between them.
    assert report["fitted_on"]["seconds"] == pytest.approx(6 * 2 + 7 * 3, abs=1.0)
    assert manifest.events.fitted_seconds == report["fitted_on"]["seconds"] + report["fitted_on"]["quiet_seconds"]
    references = made.bundle.references()
    assert dict(zip(references.texts, references.kinds, strict=True))["a grey wall"] == "background"
    card = Path(made.card).read_text()
    assert Path(made.card) == store / "tiny" / "0.1.0.md"
    for words in (
        "gets brighter",
        "CC0-1.0",
        "Thresholds were fitted on",
        "clips_top1",
        "(background)",
        "(background) a grey wall",
    ):
        assert words in card, words


def test_a_version_that_is_taken_is_refused_before_the_work(run: Path, tmp_path: Path) -> None:
    """What is published keeps its version; another one is published beside it."""
    (tmp_path / "tiny" / "0.1.0").mkdir(parents=True)
    told: list[str] = []
    with pytest.raises(ExportError, match=r"tiny@0\.1\.0 already.*--version"):
        publish(run, tmp_path, report=lambda what, *_: told.append(what))
    assert told == []


def test_labels_with_too_few_clips_leave_the_bundle_uncalibrated_and_say_so(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    """One clip a label to validate: sealed with thresholds by hand; manifest, card and command name the reason."""
    run = make_run("train", "train", "validate")
    found = CliRunner().invoke(app, ["publish", str(run), "--store", str(tmp_path), "--channel", "candidate", "--json"])

    assert found.exit_code == 0, found.output
    said = json.loads(found.stdout)
    manifest = bundles.load(tmp_path / "tiny" / "0.1.0").manifest
    assert said["calibrated"] is manifest.events.calibrated is False and manifest.sealed
    assert set(said["report"]["uncalibrated"]) == {"gets brighter", "gets darker"}
    assert manifest.events.said.startswith("NOT calibrated")
    assert "NOT calibrated" in Path(said["card"]).read_text()
    assert said["channel"] == "candidate" and resolve("tiny:candidate", tmp_path) == Path(said["path"])
    with pytest.raises(BundleNotFound):
        resolve("tiny", tmp_path)


def test_a_list_that_changed_since_the_training_is_refused(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """Clips that were trained on could have moved to `validate`, and would decide thresholds."""
    run = make_run("train", "train", "validate")
    listed = run.parent / "labels.csv"
    listed.write_text(
        listed.read_text().replace("brighter-0.mp4,gets brighter,train", "brighter-0.mp4,gets brighter,validate")
    )
    with pytest.raises(RecipeError, match="changed since"):
        publish(run, tmp_path)


def test_scenes_never_calibrate_a_model_of_clips(published: Published, tmp_path: Path, tiny_draft: Path) -> None:
    """Their thresholds would be those of other labels. A model of scenes may be calibrated by them."""
    require_scenes(tiny_draft)
    bundle = published.bundle.path
    with pytest.raises(CalibrationError, match=r"not trained on rendered scenes.*publish RUN"):
        require_scenes(bundle)
    found = CliRunner().invoke(app, ["calibrate", str(bundle), "--out", str(tmp_path / "out")])
    assert isinstance(found.exception, CalibrationError) and not (tmp_path / "out").exists()


def test_a_run_of_scenes_has_no_clips_to_publish_with(tiny_run: Path, tmp_path: Path) -> None:
    """The message names the commands for it."""
    with pytest.raises(RecipeError, match=r"rendered scenes.*calibrate"):
        publish(tiny_run, tmp_path)
