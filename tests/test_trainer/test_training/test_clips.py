"""Training on a user's own labelled clips, from the list to the report."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from trainer.data.encode import encode_mp4
from trainer.data.recipe_clips import with_labels
from trainer.errors import CheckpointError, RecipeError
from trainer.recipe import Recipe, load
from trainer.training import checkpoint, loop
from trainer.training.clips import CLIPS

RECIPES = Path(__file__).parents[3] / "trainer/recipes"
FOOTAGE = Path(__file__).parents[3] / "../shared/data/ut_interaction"


def test_training_on_clips_learns_their_labels(
    listed: Path, clip_recipe: Callable[[Path], Recipe], tmp_path: Path
) -> None:
    """The checkpoint knows the labels, the tokenizer their words, the export competes with them; top-1 is measured."""
    recipe = clip_recipe(listed)
    result = loop.train(recipe, CLIPS, tmp_path / "run")
    assert result["clips"] == 1.0 and result["clips_top1"] in (0.0, 1.0)
    known = checkpoint.load_recipe(tmp_path / "run" / checkpoint.NAME)
    texts = CLIPS.texts(known)
    model, _ = checkpoint.load_model(tmp_path / "run" / checkpoint.NAME)
    assert known == with_labels(recipe) and known.model.labels == ("gets brighter", "gets darker")
    assert model.tokenizer.token_to_id("brighter") is not None
    assert [text.text for text in texts.references if text.kind == "action"] == list(known.model.labels)
    assert loop.measure(tmp_path / "run", CLIPS) == result
    kept = (tmp_path / "run" / "recipe.json").read_text()
    with (listed / "labels.csv").open("a") as rows:
        rows.write("down.mp4,gets_darker,2.0,3.0,\n")
    with pytest.raises(CheckpointError, match="another list of clips"):
        loop.train(recipe, CLIPS, tmp_path / "run")
    assert (tmp_path / "run" / "recipe.json").read_text() == kept


SMALL = ("start.height=48", "start.width=64", "start.dimensions=64", "start.text.width=64", "start.text.layers=1",
         "model.frames=4", "optimiser.warmup_steps=5", "optimiser.average=0.9", "licence=tests only")  # fmt: skip


def test_the_shipped_recipe_learns_which_side_a_lamp_is_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It mirrors clips, but not those of labels that name a side: twelve still clips, of which four validate.

    left |#   |    right |   #|
    """
    rows = []
    for number in range(12):
        side = number % 2
        picture = np.full((48, 64, 3), 40 + 5 * number, np.uint8)
        picture[8 + 2 * number : 16 + 2 * number, 44 * side + 4 : 44 * side + 16] = 230
        encode_mp4([picture] * 10, tmp_path / f"{number}.mp4", 10)
        split = "validate" if number >= 8 else "train"
        rows.append({"path": f"{number}.mp4", "label": f"the lamp is on the {('left', 'right')[side]}", "split": split})
    (tmp_path / "labels.json").write_text(json.dumps(rows))
    stages = "stages=[{steps: 30, chunks: 8, ticks: 1}, {steps: 6, chunks: 8, ticks: 4}]"
    recipe = load(RECIPES / "clips.yaml", (f"data.clips={tmp_path / 'labels.json'}", stages, *SMALL))
    assert recipe.augment.flip == 0.5
    found = loop.train(recipe, CLIPS, tmp_path / "run")
    assert found["clips"] == 4 and found["clips_top1"] >= 0.85
    assert "not mirrored" in caplog.text and "the lamp is on the left" in caplog.text


def test_an_unreadable_clip_is_skipped_and_the_report_says_so(
    listed: Path, clip_recipe: Callable[[Path], Recipe], tmp_path: Path
) -> None:
    """Up to the share that the recipe states; the report counts it, and what was held or is background."""
    (listed / "broken.mp4").write_text("no video")
    with (listed / "labels.csv").open("a") as rows:
        rows.write("broken.mp4,gets_darker,,,\n")
    recipe = clip_recipe(listed)
    with pytest.raises(RecipeError, match=r"1 of 4 clips cannot be read, more than data\.max_skipped = 0\.05"):
        loop.train(recipe, CLIPS, tmp_path / "run")
    data = recipe.data.model_copy(update={"max_skipped": 0.3, "sampling": "window", "rate": 1})
    result = loop.train(recipe.model_copy(update={"data": data}), CLIPS, tmp_path / "run")
    assert result["clips_skipped"] == 1 and result["clips_held"] == 3 and result["clips_background"] == 0
    assert json.loads((tmp_path / "run/report.json").read_text()) == result


def test_real_clips_train(clip_recipe: Callable[[Path], Recipe], tmp_path: Path) -> None:
    """Some steps on real footage of six interactions, AVI files of many sizes, run through and are measured."""
    if not FOOTAGE.is_dir():
        pytest.skip(f"no footage at {FOOTAGE}: training on real clips was not tested")
    rows = [
        {"path": str(path.resolve()), "label": kind.name, "split": "validate" if number == 2 else "train"}
        for kind in sorted(FOOTAGE.iterdir())
        if kind.is_dir()
        for number, path in enumerate(sorted(kind.glob("*.avi"))[:3])
    ]
    (tmp_path / "labels.json").write_text(json.dumps(rows))
    result = loop.train(clip_recipe(tmp_path / "labels.json"), CLIPS, tmp_path / "run")
    assert result["clips"] == 6.0 and 0.0 <= result["clips_top1"] <= 1.0
    assert "hand shaking" in checkpoint.load_recipe(tmp_path / "run" / checkpoint.NAME).model.labels


def test_a_recipe_without_clips_is_refused(tiny_recipe: Recipe, tmp_path: Path) -> None:
    """A caller that takes the wrong source would train on nothing."""
    with pytest.raises(RecipeError, match="'tiny' names no list of clips"):
        loop.train(tiny_recipe, CLIPS, tmp_path / "run")


RUNNER = """
import sys
from pathlib import Path
from trainer.recipe import Recipe
from trainer.training import loop
from trainer.training.clips import CLIPS
recipe, run = Recipe.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
loop.train(recipe, CLIPS, run, report=lambda what, done, of, note: print(what, done, flush=True))
"""


def test_a_run_that_is_killed_ends_like_an_uncut_one(
    listed: Path, clip_recipe: Callable[[Path], Recipe], tmp_path: Path
) -> None:
    """SIGKILL while it trains, resumed: report, log and weights are the same to the bit. KILLS=10 kills it ten times.

    The head has dropout, whose random state no checkpoint holds.
    """
    tree = clip_recipe(listed).model_dump(mode="json")
    tree["model"]["head"] = {"architecture": "transf_cls", "layers": 1}
    kills, rng = int(os.environ.get("KILLS", "1")), random.Random(1)
    last = max(18, 2 * kills)  # a step of its own for each of them
    tree |= {"stages": [{"steps": last + 2, "chunks": 2, "ticks": 4}], "checkpoint_every": 1}
    recipe = Recipe.model_validate(tree)
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    uncut = loop.train(recipe, CLIPS, tmp_path / "uncut")
    command = [sys.executable, "-c", RUNNER, str(tmp_path / "recipe.json"), str(tmp_path / "cut")]
    written = tmp_path / "cut" / checkpoint.NAME
    for number in range(kills):
        at = rng.randint(last * number // kills + 1, last * (number + 1) // kills)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and _steps(written) < at:
                time.sleep(0.005)
            process.kill()
        assert _steps(written) >= at
    assert loop.train(recipe, CLIPS, tmp_path / "cut") == uncut
    logs = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("cut", "uncut")]
    assert logs[0] == logs[1]
    ours, theirs = (load_file(tmp_path / run / checkpoint.NAME) for run in ("cut", "uncut"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def _steps(path: Path) -> int:
    try:
        return int(checkpoint.checkpoint_file.read(path, tensors=False)[1]["step"])
    except CheckpointError:
        return 0
