"""Training on a user's own labelled clips, from the list to the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.data.recipe_clips import with_labels
from trainer.errors import CheckpointError, RecipeError
from trainer.recipe import Recipe
from trainer.training import checkpoint, loop
from trainer.training.clips import CLIPS

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
