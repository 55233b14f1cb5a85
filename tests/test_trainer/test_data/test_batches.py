"""Batches of labelled clips."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trainer.data import augment
from trainer.data.batches import ClipBatch
from trainer.data.sides import names_a_side
from trainer.errors import RecipeError
from trainer.models.text.texts import BACKGROUNDS, texts_of
from trainer.models.text.word_tokenizer import build_tokenizer
from trainer.progress import silent
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


@pytest.mark.parametrize(
    ("label", "sided"),
    [
        ("the lamp is on the left", True),
        ("Turns RIGHT", True),
        ("a left-handed throw", True),
        ("rotates counter-clockwise", True),
        ("rotates anticlockwise", True),
        ("walks leftwards", True),
        ("stands upright", False),
        ("a bright light", False),
        ("cleft stick", False),
    ],
)
def test_labels_that_name_a_side_or_a_sense_of_turning(label: str, sided: bool) -> None:
    """Whole words, in any case, with or without a hyphen."""
    assert names_a_side(label) == sided


def batches(recipe: Recipe, cache: Path) -> Callable[[int], ClipBatch]:
    """The batches of a recipe over clips, with a tokenizer of its words."""
    recipe = CLIPS.complete(recipe)
    opened = CLIPS.open(recipe, recipe.start.form, cache, silent, True)
    return opened.batches(build_tokenizer(CLIPS.texts(recipe).words, recipe.start.text.context))


def test_clips_of_a_side_are_never_mirrored(
    listed: Path,
    clip_recipe: Callable[[Path], Recipe],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The others still are; a warning names the labels."""
    rows = [{"path": "up.mp4", "label": "turns left"}, {"path": "down.mp4", "label": "walks"}]
    (listed / "labels.json").write_text(json.dumps(rows))
    flips: list[tuple[float, bool]] = []

    def noted(pictures: np.ndarray, rules: augment.Augment, rng: np.random.Generator) -> np.ndarray:
        flips.append((rules.flip, bool(pictures[0].mean() < 60)))  # up.mp4 begins dark
        return pictures

    monkeypatch.setattr(augment, "augment", noted)
    recipe = clip_recipe(listed / "labels.json")
    make = batches(recipe, listed / "cache")
    assert "not mirrored, because they name a side: turns left" in caplog.text
    made = [make(step) for step in range(4)]
    assert {flip for flip, _ in flips} == {0.0, recipe.augment.flip}
    expected = [0.0 if label == 0 else recipe.augment.flip for batch in made for label in batch.labels]
    assert [flip for flip, _ in flips] == expected


def test_background_and_several_labels_are_told_apart(listed: Path, clip_recipe: Callable[[Path], Recipe]) -> None:
    """Background has index -1 and a background text; a clip of two labels matches the captions of both."""
    rows = [
        {"path": "up.mp4", "labels": ["x", "z"], "end": 1.0},
        {"path": "up.mp4", "label": "y", "start": 1.0},
        {"path": "down.mp4", "role": "background"},
    ]
    (listed / "labels.json").write_text(json.dumps(rows))
    recipe = clip_recipe(listed / "labels.json")
    make = batches(recipe, listed / "cache")
    made = [make(step) for step in range(30)]
    labels = np.concatenate([batch.labels for batch in made])
    assert set(labels) == {-1, 0, 1, 2} and np.mean(labels == -1) == pytest.approx(0.25, abs=0.1)
    tokenizer = build_tokenizer(texts_of(("x", "y", "z")).words, recipe.start.text.context)
    quiet = {tuple(tokenizer.encode(text).ids) for text in BACKGROUNDS}
    both = {0, 2}
    for batch in made:
        assert np.array_equal(batch.background, batch.labels == -1)
        for row, label in enumerate(batch.labels):
            assert (tuple(batch.tokens[row]) in quiet) == batch.background[row]
            shown = both if label in both else {label}
            assert batch.matches[row].tolist() == [other in shown for other in batch.labels]
    assert recipe.model.backgrounds == ()
    off = recipe.model_copy(update={"data": recipe.data.model_copy(update={"background": 0.0})})
    assert not batches(off, listed / "cache")(0).background.any()


def test_background_with_texts_of_its_own_is_told_by_them(listed: Path, clip_recipe: Callable[[Path], Recipe]) -> None:
    """Its captions are its texts, which other background does not match; a text that is too long is refused."""
    rows = [
        {"path": "up.mp4", "label": "x", "end": 1.0},
        {"path": "up.mp4", "label": "a door swings", "role": "background", "start": 1.0},
        {"path": "down.mp4", "role": "background"},
    ]
    (listed / "labels.json").write_text(json.dumps(rows))
    recipe = CLIPS.complete(clip_recipe(listed / "labels.json"))
    assert recipe.model.labels == ("x",) and recipe.model.backgrounds == ("a door swings",)
    make = batches(recipe, listed / "cache")
    tokenizer = build_tokenizer(CLIPS.texts(recipe).words, recipe.start.text.context)
    own = tuple(tokenizer.encode("a door swings").ids)
    for batch in (make(step) for step in range(20)):
        says = [tuple(tokens) == own for tokens in batch.tokens]
        shows = [" 1-" in place for place in batch.clips]
        assert says == shows and np.array_equal(batch.background, batch.labels == -1)
        assert not batch.matches[np.ix_(np.flatnonzero(says), np.flatnonzero(~np.array(says)))].any()
        assert batch.matches.diagonal().all() and np.array_equal(batch.matches, batch.matches.T)
    rows[1]["label"] = "door " * 30
    (listed / "labels.json").write_text(json.dumps(rows))
    with pytest.raises(RecipeError, match=r"text of background 'door .*' has more words"):
        batches(clip_recipe(listed / "labels.json"), listed / "cache")
