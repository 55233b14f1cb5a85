"""Footage as a tower sees it, for the frozen stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.demo.footage import open_footage
from trainer.demo.plans import plans
from trainer.recipe import Recipe
from trainer.training import loop
from trainer.training.encoded_footage import encode


def test_items_are_what_the_tower_says_of_each_frame(tiny_recipe: Recipe, footage_cache: Path) -> None:
    """Whole stretches up to the limit, in their order, and the model is left in the mode it was in."""
    footage = open_footage(footage_cache, plans(tiny_recipe)["train"])
    model = loop.build(tiny_recipe.model, 48, 64).train()
    ticks = footage.stretches[0].ticks
    found = encode(model, footage, 2 * ticks + 1)
    assert model.training and found.stretches == footage.stretches[:2] and len(found.frames) == 2 * ticks
    with torch.inference_mode():
        expected = model.eval().encode_frames(torch.from_numpy(np.array(footage.frames[:7]))).numpy()
    assert found.pictures(found.stretches[0], 0, 7) == pytest.approx(expected, rel=2e-3, abs=2e-3)


def test_at_least_one_stretch_is_taken(tiny_recipe: Recipe, footage_cache: Path) -> None:
    """A limit below the first stretch's length would leave nothing to draw from."""
    footage = open_footage(footage_cache, plans(tiny_recipe)["train"])
    assert len(encode(loop.build(tiny_recipe.model, 48, 64), footage, 1).stretches) == 1
