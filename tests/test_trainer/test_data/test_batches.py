"""Batches of labelled clips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.errors import RecipeError
from trainer.recipe import Recipe
from trainer.training import loop
from trainer.training.clips import CLIPS


def test_a_label_that_is_too_long_is_refused_before_training(
    listed: Path, clip_recipe: Callable[[Path], Recipe], tmp_path: Path
) -> None:
    """Training would cut it off in silence, and the bundle refuse it in the end."""
    (listed / "labels.csv").write_text("path,label\nup.mp4," + "very " * 20 + "bright\ndown.mp4,darker\n")
    with pytest.raises(RecipeError, match=r"'very .*' has more words than the text tower reads \(24 tokens"):
        loop.train(clip_recipe(listed), CLIPS, tmp_path / "run")
