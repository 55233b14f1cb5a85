"""What the experiment of large towers writes is what the trainer takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainer.models.start import Clip
from trainer.real.vit import TOWERS, random_weights, recipe
from trainer.recipe import Recipe


def test_random_weights_lie_in_a_file_that_is_a_start(published_name: str, tmp_path: Path) -> None:
    """Equal seeds give one tower, others another; the file is taken as published weights are."""
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        random_weights(published_name, tmp_path / f"{name}.safetensors", seed)
    one, same, other = (
        Clip(name=published_name, pretrained=str(tmp_path / f"{name}.safetensors")).build(()).clip.state_dict()
        for name in ("one", "same", "other")
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["visual.proj"], other["visual.proj"])


@pytest.mark.parametrize("name", TOWERS)
def test_the_recipe_trains_all_of_the_model(name: str, tmp_path: Path) -> None:
    """One step in which both towers and the head learn; nothing of it is without effect, or it would be refused."""
    made = Recipe.model_validate(recipe(name, tmp_path / "weights", tmp_path / "labels.csv"))
    assert made.steps == 1 and not made.image_frozen and not made.text_frozen
