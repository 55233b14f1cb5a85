"""Batches of rendered footage."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainer.data.prefetch import ahead
from trainer.demo.batches import Batches
from trainer.demo.footage import open_footage
from trainer.demo.phrases import texts
from trainer.demo.plans import plans
from trainer.recipe import Recipe


def test_the_same_step_gives_the_same_batch(tiny_recipe: Recipe, footage_cache: Path) -> None:
    """Batches are a function of recipe and step, whatever was drawn before and by however many threads."""
    footage = open_footage(footage_cache, plans(tiny_recipe, tiny_recipe.start.form)["train"])
    tokenizer = tiny_recipe.start.build(texts().words).tokenizer
    batches, again = (Batches(tiny_recipe, [footage], tokenizer) for _ in range(2))
    first = batches.batch(45)
    batches.batch(3)
    for other in (batches.batch(45), list(ahead(again.batch, 44, 46, 2))[1]):
        for name in ("images", "tokens", "mass", "positives", "open", "background"):
            assert np.array_equal(getattr(first, name), getattr(other, name)), name
    assert not np.array_equal(first.images, batches.batch(46).images)
