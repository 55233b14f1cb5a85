"""Footage as a tower sees it, for the frozen stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.demo.encoded_footage import encode
from trainer.demo.footage import open_footage
from trainer.demo.phrases import texts
from trainer.demo.plans import plans
from trainer.models.video_text import build
from trainer.recipe import Recipe


def test_items_are_what_the_tower_says_of_each_frame(tiny_recipe: Recipe, footage_cache: Path) -> None:
    """Whole stretches up to the limit, in their order, and the model is left in the mode it was in."""
    footage = open_footage(footage_cache, plans(tiny_recipe, tiny_recipe.start.form)["train"])
    model = build(tiny_recipe.model, tiny_recipe.start.build(texts().words)).train()
    ticks = footage.stretches[0].ticks
    found = encode(model, footage, 2 * ticks + 1)
    assert model.training and found.stretches == footage.stretches[:2] and len(found.frames) == 2 * ticks
    with torch.inference_mode():
        expected = model.eval().encode_frames(torch.from_numpy(np.array(footage.frames[:7]))).numpy()
    assert found.pictures(found.stretches[0], 0, 7) == pytest.approx(expected, rel=2e-3, abs=2e-3)


def test_at_least_one_stretch_is_taken(tiny_recipe: Recipe, footage_cache: Path) -> None:
    """A limit below the first stretch's length would leave nothing to draw from."""
    footage = open_footage(footage_cache, plans(tiny_recipe, tiny_recipe.start.form)["train"])
    assert len(encode(build(tiny_recipe.model, tiny_recipe.start.build(texts().words)), footage, 1).stretches) == 1
