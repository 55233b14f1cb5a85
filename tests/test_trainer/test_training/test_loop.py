"""Training from beginning to end, interrupted and not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from trainer.demo.batches import Batches
from trainer.demo.footage import open_footage
from trainer.demo.phrases import texts
from trainer.demo.plans import plans
from trainer.demo.source import SCENES
from trainer.demo.task import SceneTask
from trainer.errors import CheckpointError, RecipeError
from trainer.evaluation.report import history, read
from trainer.models.video_text import build
from trainer.recipe import Recipe
from trainer.scenes.vocabulary import KEYS
from trainer.training import checkpoint, loop
from trainer.training.optimiser import build_optimiser
from trainer.training.step import training_step


class Interrupted(Exception):
    """The machine was switched off."""


def changed(recipe: Recipe, **parts: dict) -> Recipe:
    """A recipe in which some settings of some parts are others."""
    tree = recipe.model_dump(mode="json")
    for part, values in parts.items():
        tree[part] |= values
    return Recipe.model_validate(tree)


def logged(run: Path) -> list[dict]:
    """The rows of a run's log."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_loss_falls_and_the_run_folder_holds_what_was_learned(tiny_run: Path, tiny_recipe: Recipe) -> None:
    """Twenty steps on, the loss is lower; report, validation, recipe and curves are there."""
    rows = [row for row in logged(tiny_run) if "validation" not in row]
    words = [row["loss_word_action"] + row["loss_word_colour"] for row in rows[:2]]
    assert words[1] < words[0]
    assert history(tiny_run) == [(tiny_recipe.steps, read(tiny_run))]
    assert {"unseen_held_out_pairs", "unseen_all_pairs", "event_f1"} <= read(tiny_run).keys()
    assert (tiny_run / "curves.png").stat().st_size > 10_000


def test_an_interrupted_run_ends_like_an_uncut_one(
    tiny_run: Path, tiny_recipe: Recipe, footage_cache: Path, tmp_path: Path
) -> None:
    """Cut between checkpoints and continued, it yields the same weights, log and report, bit for bit.

    step        0        20        40        60  65
    checkpoint           x         x         x   x
    first run   |------------------|
    second               |----------------------|
    third                                    |--|
    """
    for at in (40, 65):

        def cut(what: str, done: int, of: int, note: str, at: int = at) -> None:
            if (what, done) == ("train", at):
                raise Interrupted

        with pytest.raises(Interrupted):
            loop.train(tiny_recipe, SCENES, tmp_path, cache=footage_cache, report=cut)
        assert logged(tmp_path) == [row for row in logged(tiny_run) if row["step"] <= at and "validation" not in row]
    loop.train(tiny_recipe, SCENES, tmp_path, cache=footage_cache)
    assert logged(tmp_path) == logged(tiny_run)
    assert read(tmp_path) == read(tiny_run)
    ours, theirs = (load_file(run / checkpoint.NAME) for run in (tmp_path, tiny_run))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_a_finished_run_is_measured_once(
    tiny_run: Path, tiny_recipe: Recipe, footage_cache: Path, tmp_path: Path
) -> None:
    """Started again, it says the same once more; a row that a full disk cut short is no reason not to go on."""
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    with (run / "metrics.jsonl").open("a") as log:
        log.write('{"ste')

    loop.train(tiny_recipe, SCENES, run, cache=footage_cache)

    assert logged(run) == logged(tiny_run)


def test_weights_are_used_as_they_are_under_mixed_precision(tiny_recipe: Recipe, footage_cache: Path) -> None:
    """autocast keeps a cast of each weight while it is open: one that spans two steps would train from old weights."""
    tiny_recipe = changed(tiny_recipe, optimiser={"precision": "bfloat16"})
    model = build(tiny_recipe.model, tiny_recipe.start.build(texts().words))
    task = SceneTask(model, tiny_recipe.loss)
    footage = open_footage(footage_cache, plans(tiny_recipe, tiny_recipe.start.form)["train"])
    batch = Batches(tiny_recipe, [footage], model.tokenizer).batch(0)
    optimiser = build_optimiser(tiny_recipe.optimiser, model)

    training_step(task, batch, optimiser, tiny_recipe, 0, "cpu")
    with torch.no_grad():
        task.readouts.action.weight.zero_()
        task.readouts.action.bias.zero_()
    losses, _ = training_step(task, batch, optimiser, tiny_recipe, 0, "cpu")

    assert float(losses["loss_word_action"]) == pytest.approx(0.5 * np.log(len(KEYS) + 1), rel=1e-2)
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"start": {"tower": "no_such_tower"}}, "cannot be built on 'cpu'.*no_such_tower"),
        ({"data": {"first_seed": 9_998}}, "'train' would have the seeds 9998 to 10001"),
        ({"data": {"first_seed": 8_996}}, "'train clips' would have the seeds 9996 to 10001"),
        ({"validate_on": {"first_seed": 14_990}}, "'unseen' would have the seeds 19990 to 20005"),
        ({"data": {"clip_seconds": 1}}, "'train clips' have 4 frames .* needs 6"),
        ({"validate_on": {"clip_seconds": 0.5}}, "'unseen' have 2 frames .* needs 4"),
    ],
)
def test_what_cannot_be_trained_is_said_before_rendering(
    change: dict, reason: str, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    """Minutes of footage, or a whole run, would be lost; or scenes that measure would be among those that teach."""
    with pytest.raises(RecipeError, match=reason):
        loop.train(changed(tiny_recipe, **change), SCENES, tmp_path)

    assert not (tmp_path / "footage").exists()


def test_a_device_that_is_not_there_is_named(tiny_run: Path, footage_cache: Path) -> None:
    """The one that measures, as the one that trains."""
    with pytest.raises(RecipeError, match="cannot be built on 'nowhere'"):
        loop.measure(tiny_run, SCENES, device="nowhere", cache=footage_cache)


def test_a_run_folder_of_another_recipe_is_refused(tiny_run: Path, tiny_recipe: Recipe, footage_cache: Path) -> None:
    """Going on with another learning rate would make a run that no recipe describes."""
    other = tiny_recipe.model_copy(update={"seed": 2})
    kept = (tiny_run / "recipe.json").read_text()
    with pytest.raises(CheckpointError, match="another recipe"):
        loop.train(other, SCENES, tiny_run, cache=footage_cache)
    assert (tiny_run / "recipe.json").read_text() == kept


def test_every_part_learns_in_its_stages(tiny_run: Path) -> None:
    """Steps that the optimiser took, by parameter: every part rests where its stage says so.

    words   0---------------------65
    tower   0-----------------50         frozen at the end
    texts        15---------------65     not yet in the first stage
    head              40----------65     needs windows
    """
    tensors = load_file(tiny_run / checkpoint.NAME)
    taken = {int(value) for name, value in tensors.items() if name.startswith("moments.") and name.endswith(".step")}
    assert taken == {65, 50, 25}
