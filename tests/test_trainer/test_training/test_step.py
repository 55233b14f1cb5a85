"""A step whose numbers are not finite ends the run, and what was good is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from trainer.errors import TrainingError
from trainer.recipe import Recipe
from trainer.training import checkpoint, loop
from trainer.training.clips import CLIPS
from trainer.training.tasks import ClipTask


def changed(recipe: Recipe, **parts: Any) -> Recipe:
    """A recipe in which some settings are others."""
    tree = recipe.model_dump(mode="json")
    for part, value in parts.items():
        tree[part] = tree[part] | value if isinstance(value, dict) else value
    return Recipe.model_validate(tree)


def test_a_rate_beyond_reason_stops_the_run_and_leaves_no_nan(
    listed: Path, clip_recipe: Callable[[Path], Recipe], tmp_path: Path
) -> None:
    """Rate 1e30 and no clipping: an error with step, loss and clips; log and checkpoints hold finite numbers."""
    recipe = changed(
        clip_recipe(listed), optimiser={"rate": 1e30, "clip": 0, "warmup_steps": 0, "orthogonal": 0}, checkpoint_every=1
    )
    with pytest.raises(TrainingError, match=r"step \d: .*(is nan|is inf|no longer finite|not finite)"):
        loop.train(recipe, CLIPS, tmp_path)
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert not (tmp_path / "report.json").exists()
    for path in tmp_path.glob("*.safetensors"):
        assert all(torch.isfinite(tensor).all() for tensor in load_file(path).values() if tensor.is_floating_point())


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_nan_at_the_third_step_keeps_the_last_two_checkpoints(
    where: str, listed: Path, clip_recipe: Callable[[Path], Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step, what went astray, and the clips of the batch are named.

    step        1    2    3
    checkpoint  x    x    NaN in the loss, or in its gradient alone
    """
    calls = []
    honest = ClipTask.forward

    def astray(task: ClipTask, batch: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        calls.append(batch)
        losses, numbers = honest(task, batch)
        if len(calls) == 3:
            loss = losses["contrast"]
            weight = next(parameter for parameter in task.model.head.parameters())
            trap = torch.sqrt((weight - weight.detach()).abs().sum())  # zero, with an infinite slope
            losses["contrast"] = loss * float("nan") if where == "loss" else loss + trap
        return losses, numbers

    monkeypatch.setattr(ClipTask, "forward", astray)
    recipe = changed(clip_recipe(listed), checkpoint_every=1)
    said = {"loss": "the loss contrast is nan", "gradient": r"the gradient of model\.head\.positions is not finite"}
    expected = said[where]
    with pytest.raises(
        TrainingError, match=rf"step 3: {expected} \(clips: .*(up|down)\.mp4.*good checkpoints are kept"
    ):
        loop.train(recipe, CLIPS, tmp_path)
    kept = (tmp_path / name for name in (checkpoint.NAME, checkpoint.PREVIOUS))
    steps = [checkpoint.checkpoint_file.read(path)[1]["step"] for path in kept]
    assert steps == ["2", "1"]


def test_weights_that_are_no_longer_finite_are_not_saved(
    listed: Path, clip_recipe: Callable[[Path], Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A running mean may be lost although loss and gradients are finite; the checkpoint before it stays."""
    honest = ClipTask.forward

    def astray(task: ClipTask, batch: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        if (tmp_path / checkpoint.NAME).exists():  # a norm in training does not look at its running mean
            norm = next(one for one in task.modules() if isinstance(one, nn.BatchNorm2d))
            norm.running_mean.fill_(float("inf"))
        return honest(task, batch)

    monkeypatch.setattr(ClipTask, "forward", astray)
    with pytest.raises(TrainingError, match=r"step 2: .*running_mean is no longer finite"):
        loop.train(changed(clip_recipe(listed), checkpoint_every=1), CLIPS, tmp_path)
    assert checkpoint.checkpoint_file.read(tmp_path / checkpoint.NAME)[1]["step"] == "1"


def test_parts_of_a_batch_and_recomputed_blocks_change_memory_not_gradients(
    clip_recipe: Callable[[Path], Recipe], listed: Path, published: nn.Module, published_name: str, tmp_path: Path
) -> None:
    """On a transformer: three parts, or blocks that keep nothing, give the loss and gradients of the whole batch."""
    torch.save(published.state_dict(), tmp_path / "w.pt")
    start = {"kind": "clip", "name": published_name, "pretrained": str(tmp_path / "w.pt")}
    tree = clip_recipe(listed).model_dump(mode="json") | {"start": start}
    tree["optimiser"] |= {"orthogonal": 0}
    found = {}
    for way in ({}, {"accumulate": 3}, {"recompute": True}):
        recipe = CLIPS.complete(Recipe.model_validate(tree | {"optimiser": tree["optimiser"] | way}))
        torch.manual_seed(0)
        model = loop._built(recipe, CLIPS, "cpu", tmp_path, lambda *said: None)
        data = CLIPS.open(recipe, model.blueprint.form, tmp_path / "cache", lambda *said: None, True)
        task = CLIPS.task(model, recipe)
        losses, _ = task(data.batches(model.tokenizer)(0))
        sum(losses.values()).backward()
        gradient = model.clip.visual.conv1.weight.grad
        found[str(way)] = (float(losses["contrast"].detach()), gradient.clone())
    whole = found.pop("{}")
    for loss, gradient in found.values():
        assert loss == pytest.approx(whole[0], rel=1e-5)
        assert torch.allclose(gradient, whole[1], rtol=1e-3, atol=1e-6)
