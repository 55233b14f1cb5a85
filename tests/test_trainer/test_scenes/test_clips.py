"""Rendered clips as a list: equal arguments give equal files, and actions that are kept apart are never trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.data.manifest import checked, scan
from trainer.errors import RecipeError
from trainer.scenes.clips import Form, kept_apart, render_clips
from trainer.scenes.vocabulary import KEYS

FORM = Form(seconds=0.5, fps=4, size=(64, 48))


def test_a_list_can_be_trained_on_by_episodes(tmp_path: Path) -> None:
    """One clip of each action: those for validation and test have no clip to train on; twice the same bytes."""
    split, seen = kept_apart(2, 4, seed=0), []
    for name in ("a", "b"):
        render_clips(tmp_path / name, split, 1, FORM, workers=2, progress=seen.append)
    assert seen == [*range(1, 17)] * 2
    listed = checked(scan(tmp_path / "a" / "labels.csv"), taught=True)
    splits = ("train", "validate", "test")
    labels = {name: {clip.label for clip in listed.clips if clip.split == name} for name in splits}
    assert [len(labels[name]) for name in splits] == [10, 2, 4]
    assert not labels["train"] & (labels["validate"] | labels["test"])
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(files) == 17
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_which_actions_are_kept_apart_is_drawn() -> None:
    """By seed, all sixteen have a split; leaving fewer than two to train on is refused."""
    draws = [kept_apart(2, 4, seed) for seed in range(4)]
    assert all(set(draw) == set(KEYS) for draw in draws) and draws[0] == kept_apart(2, 4, 0)
    assert len({tuple(sorted(key for key in draw if draw[key] == "test")) for draw in draws}) > 1
    with pytest.raises(RecipeError, match="15 are kept apart; leave two to train"):
        kept_apart(8, 7, 0)
