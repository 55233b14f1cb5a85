"""Rendered footage on disk."""

from __future__ import annotations

from pathlib import Path

from trainer.demo.footage import open_footage
from trainer.demo.phrases import Fact, seen_facts
from trainer.demo.plans import plans
from trainer.recipe import Recipe


def test_no_training_stream_shows_a_held_out_pair(tiny_recipe: Recipe, footage_cache: Path) -> None:
    """What is filmed for training is what captions may state."""
    seen = set(seen_facts())
    rows = [
        row
        for stretch in open_footage(footage_cache, plans(tiny_recipe, tiny_recipe.start.form)["train"]).stretches
        for row in stretch.rows
    ]
    assert rows
    assert all(Fact(key, who[0]) in seen for key, _, _, who in rows if who and who[0] is not None)
