"""What a training needs of a machine's memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.errors import RecipeError
from trainer.models.video_text import VideoTextModel, build
from trainer.recipe import Recipe
from trainer.training import loop, memory
from trainer.training.clips import CLIPS
from trainer.training.freezing import freeze

Make = Callable[..., tuple[VideoTextModel, Recipe]]


@pytest.fixture
def make(clip_recipe: Callable[[Path], Recipe], listed: Path) -> Make:
    """A tiny model and its recipe, with some settings of another value."""

    def made(**changes: Any) -> tuple[VideoTextModel, Recipe]:
        tree = clip_recipe(listed).model_dump(mode="json")
        tree["optimiser"] |= {"orthogonal": 0} | changes.pop("optimiser", {})
        recipe = CLIPS.complete(Recipe.model_validate(tree | changes))
        model = build(recipe.model, recipe.start.build(CLIPS.texts(recipe).words))
        freeze(model, recipe)
        return model, recipe

    return made


def stage(chunks: int, ticks: int = 4) -> dict[str, Any]:
    """One stage of six steps."""
    return {"stages": [{"steps": 6, "chunks": chunks, "ticks": ticks}]}


@pytest.mark.parametrize("changes", [{}, {"freeze": "V1"}, {"optimiser": {"accumulate": 2}}])
def test_what_cannot_be_held_is_refused_before_a_clip_is_decoded(
    make: Make, changes: dict[str, Any], tmp_path: Path
) -> None:
    """In one line: what it needs, what there is, and what to change."""
    _, recipe = make(**stage(10**7), **changes)
    with pytest.raises(
        RecipeError, match=r"needs at least .* GiB of memory, and cpu has .* GiB.*stages\.chunks"
    ) as told:
        loop.train(recipe, CLIPS, tmp_path / "run", cache=tmp_path / "cache")
    assert "\n" not in str(told.value) and not (tmp_path / "cache").exists()


def test_one_picture_foretells_what_a_batch_keeps(make: Make) -> None:
    """All that eight pictures keep in training, counted as it happens, is eight times what one keeps."""
    model, recipe = make(**stage(2), freeze="V1")
    pictures = torch.zeros((8, 48, 64, 3), dtype=torch.uint8)
    real = memory._kept(model, lambda: model.features(pictures))
    assert memory.needed(model, recipe, "cpu").activations == pytest.approx(real, rel=0.1)
    assert model.training


def test_what_does_not_learn_keeps_nothing(make: Make) -> None:
    """A frozen tower needs neither gradients nor activations; a part of a batch needs a part of its memory."""
    everything, words, pictures, none = (
        memory.needed(*make(**stage(8), freeze=freeze), "cpu") for freeze in ("V4", "V2", "V1", "V3")
    )
    assert words.activations + pictures.activations == everything.activations and none.activations == 0
    assert none.learning < words.learning < everything.learning
    assert none.weights < everything.weights
    half = memory.needed(*make(**stage(8), freeze="V1", optimiser={"accumulate": 2}), "cpu")
    assert 2 * half.activations == pictures.activations
    single = memory.needed(*make(**stage(8, ticks=1), freeze="V1"), "cpu")
    assert 4 * single.activations == pictures.activations
