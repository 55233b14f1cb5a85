"""The commands of the training side."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trainer import recipe
from trainer.cli import app
from trainer.demo import demo_model
from trainer.errors import RecipeError

RUNNER = CliRunner()


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "recipe.yaml", "--out", "run"],
        ["evaluate", "run"],
        ["export", "run", "--out", "draft"],
        ["bundle", "--model", "ViT-B-32", "--out", "clip"],
        ["demo-model"],
    ],
)
def test_without_torch_a_command_says_what_to_install(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the remedy and exit code 2, before anything is read or written."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else real(name, *rest))
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 2
    assert "pip install 'actionwire[trainer]'" in result.output


def test_the_commands_load_without_torch() -> None:
    """Help, scenes and calibration need none of the heavy libraries."""
    code = (
        "import sys; import trainer.cli, trainer.calibration.calibrate; "
        "sys.exit(' '.join({'torch', 'open_clip'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("change", ["name=Falls", "name=my falls", "version=1.0 beta"])
def test_what_no_bundle_can_be_called_is_refused_before_training(change: str) -> None:
    """A run that ends with a name that no manifest takes would be lost: checkpoints belong to their recipe."""
    with pytest.raises(RecipeError, match=change.split("=")[0]):
        recipe.load(demo_model.RECIPE, (change,))


@pytest.mark.parametrize(
    "change",
    ["stages.x.steps=1", "stages.9.steps=1", "name=[", "name.x=1", "seed", "model.frames=8", "validate_on.streams=1"],
)
def test_a_slip_in_a_change_of_the_recipe_is_named(change: str) -> None:
    """A stage that is none, YAML that is none, a key below a value, no value; a window of which nothing would count."""
    with pytest.raises(RecipeError, match=r"fits no place in .*demo\.yaml|no window would show|streams"):
        recipe.load(demo_model.RECIPE, (change,))


@pytest.mark.parametrize("content", [b"", b"\xe4", None])
def test_what_is_no_recipe_is_named(content: bytes | None, tmp_path: Path) -> None:
    """An empty file, another encoding, a folder."""
    path = tmp_path / "recipe.yaml"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"recipe\.yaml"):
        recipe.load(path, ("name=x",))


def test_calibrate_wants_both_truths(tmp_path: Path) -> None:
    """Recordings that decide without others that measure are a mistake in the call."""
    result = RUNNER.invoke(
        app, ["calibrate", str(tmp_path), "--out", str(tmp_path / "out"), "--truth", "fit.json"], env={"COLUMNS": "200"}
    )
    assert result.exit_code == 2 and "--held-back-truth" in result.output


def test_the_shipped_recipes_can_be_read() -> None:
    """The demo's renders its footage; that for clips takes the user's list from the command line."""
    assert recipe.load(demo_model.RECIPE).data.clips is None
    chosen = recipe.load(demo_model.RECIPE.with_name("clips.yaml"), ("data.clips=mine/labels.csv", "licence=mine"))
    assert chosen.data.clips == Path("mine/labels.csv")


def test_evaluate_shows_the_report_of_a_run(tiny_run: Path) -> None:
    """As a table with the meaning of the figures, and as JSON."""
    table = RUNNER.invoke(app, ["evaluate", str(tiny_run)], env={"COLUMNS": "200"})
    assert table.exit_code == 0 and "unseen_held_out_pairs" in table.output and "step 65" in table.output
    as_json = RUNNER.invoke(app, ["evaluate", str(tiny_run), "--json"])
    assert json.loads(as_json.output) == json.loads((tiny_run / "report.json").read_text())


def test_the_scenes_have_a_version() -> None:
    """Twelve hex digits, the same every time."""
    first, second = (RUNNER.invoke(app, ["scenes", "version"]).output for _ in range(2))
    assert first == second and len(first.strip()) == 12 and int(first, 16) >= 0
