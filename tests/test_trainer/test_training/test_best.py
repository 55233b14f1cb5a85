"""Which validation of a run is handed on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from trainer.recipe import Recipe
from trainer.training.best import NAME, Best, best_of, chosen


def test_the_best_validation_is_kept_and_of_equals_the_later_one() -> None:
    """0.5, 0.7, 0.7, 0.6: the third. A validation without clips apart decides nothing."""
    best, saved = Best("clips_top1"), []
    for step, top in enumerate((0.5, 0.7, 0.7, 0.6)):
        best.offer({"clips_top1": top, "step": step}, lambda step=step: saved.append(step))  # type: ignore[misc]
    best.offer({"clips_top1_trained": 1.0}, lambda: saved.append(9))

    assert saved == [0, 1, 2] and best.figures == {"clips_top1": 0.7, "step": 2}


def test_a_resumed_run_knows_what_was_best(tmp_path: Path, clip_recipe: Callable[[Path], Recipe]) -> None:
    """From the log. Recipes that keep the last validation, as those of scenes do, have no best one."""
    rows = ({"step": step, "validation": {"clips_top1": top}} for step, top in ((10, 0.9), (20, 0.4)))
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    recipe = clip_recipe(tmp_path)
    keeping = recipe.model_copy(update={"validate_on": recipe.validate_on.model_copy(update={"keep": "best"})})

    found = best_of(tmp_path, keeping)

    assert found is not None and found.figures == {"clips_top1": 0.9}
    assert best_of(tmp_path, recipe) is None


def test_what_is_exported_is_the_best_where_there_is_one(tmp_path: Path) -> None:
    """Else the last checkpoint."""
    assert chosen(tmp_path).name == "checkpoint.safetensors"
    (tmp_path / NAME).touch()
    assert chosen(tmp_path) == tmp_path / NAME
