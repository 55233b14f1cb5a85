"""What a frozen tower says is computed once, and is what it would say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainer.data import items
from trainer.models.text.texts import texts_of
from trainer.models.video_text import VideoTextModel, build
from trainer.progress import silent
from trainer.recipe import Recipe
from trainer.training import loop
from trainer.training.clips import CLIPS
from trainer.training.freezing import freeze


def frozen(recipe: Recipe, **parts: Any) -> Recipe:
    """The recipe with its image tower frozen."""
    tree = recipe.model_dump(mode="json")
    tree["optimiser"] |= {"orthogonal": 0}
    return CLIPS.complete(Recipe.model_validate(tree | {"freeze": "V2"} | parts))


def model_of(recipe: Recipe, seed: int = 0) -> VideoTextModel:
    """The recipe's model with seeded weights."""
    torch.manual_seed(seed)
    model = build(recipe.model, recipe.start.build(texts_of(recipe.model.labels).words))
    freeze(model, recipe)
    return model


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures towers were shown, call by call."""
    seen: list[int] = []
    honest = items.tower_features

    def counting(model: VideoTextModel, pictures: np.ndarray) -> np.ndarray:
        seen.append(len(pictures))
        return honest(model, pictures)

    monkeypatch.setattr(items, "tower_features", counting)
    return seen


def test_batches_of_items_are_what_the_tower_says_of_the_pictures(
    listed: Path, clip_recipe: Callable[[Path], Recipe], tmp_path: Path, counted: list[int]
) -> None:
    """Same draws, same clips: the features of a batch are those of its pictures; a second opening computes nothing."""
    recipe = frozen(clip_recipe(listed))
    model = model_of(recipe)
    data = CLIPS.open(recipe, model.blueprint.form, tmp_path, silent, True)
    assert data.frozen is not None
    batch, again = data.frozen(model)(3), data.frozen(model)(3)
    computed = len(counted)
    assert computed == 2 and np.array_equal(batch.images, again.images)  # two files, whatever clips are in them
    assert batch.images.dtype == np.float32 and batch.images.shape == (6, 4, 64) and len(batch.clips) == 6
    clips = CLIPS.open(recipe, model.blueprint.form, tmp_path, silent, True)
    assert clips.frozen is not None
    model_again = model_of(recipe)
    assert np.array_equal(clips.frozen(model_again)(3).images, batch.images) and len(counted) == computed
    with torch.no_grad():
        rng = np.random.default_rng(0)
        pictures = rng.integers(0, 256, (5, 48, 64, 3), dtype=np.uint8)
        told = items.tower_features(model, pictures)
        assert np.allclose(told, model.features(torch.from_numpy(pictures)).numpy(), atol=1e-5)


def test_other_labels_and_splits_compute_nothing_and_another_tower_everything(
    listed: Path, clip_recipe: Callable[[Path], Recipe], tmp_path: Path, counted: list[int]
) -> None:
    """The key is bytes, rate, size and weights; a cut file is computed again."""
    recipe = frozen(clip_recipe(listed))
    model = model_of(recipe)

    def opened(model: VideoTextModel, recipe: Recipe) -> int:
        data = CLIPS.open(recipe, model.blueprint.form, tmp_path, silent, True)
        assert data.frozen is not None
        data.frozen(model)(0)
        return len(counted)

    assert opened(model, recipe) == 2
    rows = "path,label,start,end,split\nup.mp4,darker,,,\ndown.mp4,brighter,,1.5,\ndown.mp4,brighter,2.0,,validate\n"
    (listed / "labels.csv").write_text(rows)
    assert opened(model, frozen(clip_recipe(listed))) == 2
    assert opened(model_of(recipe, seed=1), frozen(clip_recipe(listed))) == 4
    kept = next((tmp_path / "items" / items.tower_hash(model.clip.visual)).glob("*.npy"))
    kept.write_bytes(kept.read_bytes()[:200])
    assert opened(model, frozen(clip_recipe(listed))) == 5


def test_changed_copies_are_drawn_and_never_mirrored_for_labels_of_a_side(
    listed: Path, clip_recipe: Callable[[Path], Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two copies beside each file: a clip has three sets of features; the rules of `turns left` do not mirror."""
    (listed / "labels.csv").write_text("path,label\nup.mp4,turns left\ndown.mp4,walks\n")
    recipe = frozen(clip_recipe(listed), items={"copies": 2}, augment={"noise": 40.0})
    flips: list[float] = []
    honest = items.change

    def noted(pictures: Any, rules: Any, rng: Any) -> Any:
        flips.append(rules.flip)
        return honest(pictures, rules, rng)

    monkeypatch.setattr(items, "change", noted)
    model = model_of(recipe)
    data = CLIPS.open(recipe, model.blueprint.form, tmp_path, silent, True)
    assert data.frozen is not None
    make = data.frozen(model)
    assert sorted(flips) == [0.0, 0.0, 0.5, 0.5]
    seen = {batch.images[0].tobytes() for batch in map(make, range(12)) if batch.labels[0] == 0}
    assert len(seen) > 1


def test_heads_and_texts_train_from_items_and_a_run_is_measured_again(
    listed: Path, clip_recipe: Callable[[Path], Recipe], tmp_path: Path
) -> None:
    """Both towers frozen, every start: training, validation and the second measurement agree."""
    recipe = frozen(clip_recipe(listed), freeze="V3")
    result = loop.train(recipe, CLIPS, tmp_path / "run")
    assert result["clips"] == 1.0 and loop.measure(tmp_path / "run", CLIPS) == result
