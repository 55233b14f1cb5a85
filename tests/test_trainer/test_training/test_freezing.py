"""What is frozen stays as it was, bit for bit, and costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from trainer.errors import RecipeError
from trainer.models.text.texts import texts_of
from trainer.models.video_text import VideoTextModel, build
from trainer.recipe import Recipe
from trainer.training import checkpoint, loop
from trainer.training.clips import CLIPS
from trainer.training.freezing import freeze, frozen_names

LABELS = ("gets brighter", "gets darker")


def changed(recipe: Recipe, **parts: Any) -> Recipe:
    """A recipe in which some settings are others."""
    tree = recipe.model_dump(mode="json")
    for part, value in parts.items():
        tree[part] = tree[part] | value if isinstance(value, dict) else value
    return Recipe.model_validate(tree)


def model_of(recipe: Recipe) -> VideoTextModel:
    """The recipe's model, frozen as it says."""
    torch.manual_seed(0)
    model = build(recipe.model, recipe.start.build(texts_of(LABELS).words))
    freeze(model, recipe)
    return model


@pytest.mark.parametrize(
    ("parts", "still", "moved"),
    [
        ({"freeze": "V1"}, ("clip.transformer.", "clip.token_"), ("clip.visual.", "head.", "clip.logit_scale")),
        ({"freeze": "V2", "optimiser": {"orthogonal": 0}}, ("clip.visual.",), ("clip.transformer.", "head.")),
        (
            {"freeze": "V3", "optimiser": {"orthogonal": 0}},
            ("clip.visual.", "clip.transformer.", "clip.text_projection"),
            ("head.", "clip.logit_scale"),
        ),
        ({"optimiser": {"text_ratio": 0}}, ("clip.transformer.",), ("clip.visual.", "head.")),
        ({"optimiser": {"head_ratio": 0}}, ("head.",), ("clip.visual.", "clip.transformer.")),
        (
            {"open_stages": 1},
            ("clip.visual.trunk.conv1", "clip.visual.trunk.layer3"),
            ("clip.visual.trunk.layer4", "clip.visual.trunk.centre", "head."),
        ),
    ],
)  # fmt: skip
def test_frozen_parts_stay_and_have_neither_moments_nor_average(
    parts: dict[str, Any], still: tuple[str, ...], moved: tuple[str, ...], listed: Path,
    clip_recipe: Callable[[Path], Recipe], tmp_path: Path,
) -> None:  # fmt: skip
    """After training: weights and batch norms of what is frozen are those of the start; the rest learnt."""
    recipe = changed(clip_recipe(listed), **parts, stages=[{"steps": 2, "chunks": 4, "ticks": 4}])
    loop.train(recipe, CLIPS, tmp_path / "run")
    tensors = load_file(tmp_path / "run" / checkpoint.NAME)
    model = model_of(CLIPS.complete(recipe))
    names = frozen_names(model)
    torch.manual_seed(recipe.seed)
    before = build(recipe.model, recipe.start.build(texts_of(LABELS).words)).state_dict()
    for name, tensor in before.items():
        if name.startswith(still):
            assert name in names and torch.equal(tensors[f"model.{name}"], tensor), name
            assert f"average.{name}" not in tensors
        if name.startswith(moved):
            assert name not in names and f"average.{name}" in tensors, name
    learning = sum(parameter.requires_grad for parameter in model.parameters())
    assert len({name.split(".")[1] for name in tensors if name.startswith("moments.")}) <= learning
    changed_ones = [name for name in before if name.startswith(moved) and before[name].is_floating_point()]
    assert any(not torch.equal(tensors[f"model.{name}"], before[name]) for name in changed_ones)


def test_a_frozen_batch_norm_is_in_evaluation_mode_whatever_is_called(clip_recipe: Callable[[Path], Recipe]) -> None:
    """`train()` after `eval()`, as validation does between steps, must not wake it; pictures leave no trace in it."""
    recipe = changed(clip_recipe(Path("x")), freeze="V2", optimiser={"orthogonal": 0})
    model = model_of(recipe)
    model.eval().train()
    norms = [module for module in model.clip.visual.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms) and model.head.training
    kept = norms[0].running_mean.clone()
    items = model.features(torch.randint(0, 256, (4, 48, 64, 3), dtype=torch.uint8))
    assert torch.equal(norms[0].running_mean, kept) and not items.requires_grad


def test_nothing_to_learn_and_stages_that_are_not_there_are_refused(clip_recipe: Callable[[Path], Recipe]) -> None:
    """Both towers frozen under a head without weights; five open stages of four."""
    plain = clip_recipe(Path("x"))
    nothing = changed(plain, freeze="V3", optimiser={"orthogonal": 0}, model={"head": {"architecture": "meanp"}})
    with pytest.raises(RecipeError, match="nothing is left to learn in recipe 'tiny': freeze is V3"):
        model_of(nothing)
    with pytest.raises(RecipeError, match="open_stages is 5, and the image tower has 4 stages"):
        model_of(changed(plain, open_stages=5))
