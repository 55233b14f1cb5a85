"""A user's own labelled clips."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from trainer import checkpoint, labelled, loop
from trainer.clips import read_clip
from trainer.config import Recipe
from trainer.errors import CheckpointError, RecipeError
from trainer.export import reference_texts
from trainer.labelled import Clip, open_clips, read_list, with_labels
from trainer.scenes.encode import encode_mp4

FOOTAGE = Path(__file__).parents[2] / "../shared/data/ut_interaction"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two clips of three seconds: one grows brighter, one darker; the second is listed in two parts.

    up.mp4    |-------- train --------|
    down.mp4  |- train -|- validate -|
    """
    ramp = range(0, 240, 8)
    for name, levels in (("up.mp4", ramp), ("down.mp4", reversed(ramp))):
        encode_mp4((np.full((64, 64, 3), level, np.uint8) for level in levels), tmp_path / name, 10, 400_000)
    (tmp_path / "labels.csv").write_text(
        "path,label,start,end,split\nup.mp4,GetsBrighter,,,\ndown.mp4,gets_darker,,1.0,\n"
        "down.mp4,gets_darker,1.0,2.0,validate\n"
    )
    return tmp_path


def test_lists_are_read_as_csv_and_as_json(folder: Path) -> None:
    """Class names become words, missing columns have defaults, paths are relative to the list."""
    found = read_list(folder)
    assert found[0] == Clip(str(folder / "up.mp4"), "gets brighter")
    assert found[2] == Clip(str(folder / "down.mp4"), "gets darker", 1.0, 2.0, "validate")
    rows = [{"path": "up.mp4", "label": "GetsBrighter"}, {"path": "down.mp4", "label": "gets_darker", "end": 1.0}]
    (folder / "labels.json").write_text(json.dumps(rows))
    assert read_list(folder / "labels.json") == found[:2]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "names no clip"),
        ("up.mp4,\n", "clip 1 lacks path or label"),
        ("gone.mp4,x\n", "no file"),
        ("up.mp4,x,two\n", "seconds"),
        ("up.mp4,x,2,1\n", "does not lie behind"),
        ("up.mp4,x,,,test\n", "neither train nor validate"),
        ("up.mp4,x,,,validate\n", "no clip to train on"),
        ("up.mp4,x\ndown.mp4, x\n", "one label only, 'x'"),
        ("up.mp4,OpenDoor\ndown.mp4,Open  Door\n", "'open door' and 'Open Door', one label"),
        ("up.mp4,x,,2,\nup.mp4,y,1,3,validate\n", r"trains and validates on .*up\.mp4"),
        ("up.mp4,x,,,\n./up.mp4,y,1,3,validate\n", r"trains and validates on .*up\.mp4"),
    ],
)
def test_a_wrong_list_is_refused_with_its_row(folder: Path, rows: str, message: str) -> None:
    """The error names the list, the row and the reason."""
    (folder / "labels.csv").write_text("path,label,start,end,split\n" + rows)
    with pytest.raises(RecipeError, match=message):
        read_list(folder)


def test_clips_are_decoded_once_and_sampled_both_ways(folder: Path) -> None:
    """Brightness tells which frames were taken: segments span the clip, windows are consecutive, parts are parts."""

    def opened(told: list[int]) -> object:
        return open_clips(
            folder, ("gets brighter", "gets darker"), folder / "cache", 10, 32, 32, lambda done, of: told.append(done)
        )

    told: list[int] = []
    clips = opened(told)
    assert told == [1, 2, 3] and clips.labels == (0, 1, 1) and clips.of("validate") == [2]
    assert clips.bounds == ((0, 30), (30, 10), (40, 10))
    level = clips.sample(0, 3).mean(axis=(1, 2, 3))
    assert np.diff(level) == pytest.approx([80, 80], abs=6)
    close = clips.sample(0, 3, "window").mean(axis=(1, 2, 3))
    assert np.diff(close) == pytest.approx([8, 8], abs=3)
    again: list[int] = []
    assert np.array_equal(opened(again).frames, clips.frames) and again == []


def test_a_file_is_read_once_and_only_as_far_as_its_parts_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a long recording share one reading, which ends with the last of them; where they overlap, so do they.

    down.mp4  0         1         2         3 s
    parts     |---------|    |----|
                   |---------|
    """
    rows = [(0.0, 1.0), (0.5, 1.5), (1.5, 2.0)]
    (folder / "labels.json").write_text(
        json.dumps(
            [{"path": "up.mp4", "label": "x", "end": 0.1}]
            + [{"path": "down.mp4", "label": "y", "start": start, "end": end} for start, end in rows]
        )
    )
    told: list[float] = []

    def counted(path: Path, rate: int) -> Iterator[tuple[float, np.ndarray]]:
        for seconds, picture in read_clip(path, rate):
            told.append(seconds)
            yield seconds, picture

    monkeypatch.setattr(labelled, "read_clip", counted)
    clips = open_clips(folder / "labels.json", ("x", "y"), folder / "cache", 10, 32, 32, lambda done, of: None)
    assert clips.bounds == ((0, 1), (1, 10), (6, 10), (16, 5)) and len(told) == 2 + 21
    assert clips.sample(2, 1).mean() == pytest.approx(clips.frames[11].mean())


def test_a_video_that_was_replaced_is_decoded_again(folder: Path) -> None:
    """Frames in the cache are those of files of this size."""

    def opened() -> np.ndarray:
        names = ("gets brighter", "gets darker")
        return open_clips(folder, names, folder / "cache", 10, 32, 32, lambda done, of: None).frames

    before = np.array(opened())
    encode_mp4((np.full((64, 64, 3), 90, np.uint8) for _ in range(30)), folder / "up.mp4", 10, 100_000)
    assert not np.array_equal(before, opened())


def test_a_label_that_a_model_does_not_know_is_named(folder: Path) -> None:
    """A list that got a new label after training cannot be measured with that model."""
    with pytest.raises(RecipeError, match="'gets darker', which this model was not trained on"):
        open_clips(folder, ("gets brighter",), folder / "cache", 10, 32, 32, lambda done, of: None)


def test_what_is_no_video_is_named(folder: Path) -> None:
    """A text file in the list is an error about that file."""
    (folder / "up.mp4").write_text("not a video")
    with pytest.raises(RecipeError, match=r"up\.mp4 cannot be decoded"):
        open_clips(folder, ("gets brighter", "gets darker"), folder / "cache", 10, 32, 32, lambda done, of: None)


@pytest.fixture
def clip_recipe(tiny_recipe: Recipe) -> Callable[[Path], Recipe]:
    """A tiny recipe over labelled clips."""

    def make(source: Path) -> Recipe:
        tree = tiny_recipe.model_dump(mode="json")
        tree["data"] |= {"clips": str(source)}
        tree["stages"] = [{"steps": 6, "chunks": 6, "ticks": 4}]
        return Recipe.model_validate(tree)

    return make


def test_training_on_clips_learns_their_labels(
    folder: Path, clip_recipe: Callable[[Path], Recipe], tmp_path: Path
) -> None:
    """The checkpoint knows the labels, the tokenizer their words, the export competes with them; top-1 is measured."""
    recipe = clip_recipe(folder)
    result = loop.train(recipe, tmp_path / "run")
    assert result["clips"] == 1.0 and result["clips_top1"] in (0.0, 1.0)
    model, known = checkpoint.load_model(tmp_path / "run" / checkpoint.NAME)
    assert known == with_labels(recipe) and known.model.labels == ("gets brighter", "gets darker")
    assert model.tokenizer.token_to_id("brighter") is not None
    assert [text.text for text in reference_texts(known.model.labels) if text.kind == "action"] == list(
        known.model.labels
    )
    assert loop.measure(tmp_path / "run") == result
    kept = (tmp_path / "run" / "recipe.json").read_text()
    with (folder / "labels.csv").open("a") as rows:
        rows.write("down.mp4,gets_darker,2.0,3.0,\n")
    with pytest.raises(CheckpointError, match="another list of clips"):
        loop.train(recipe, tmp_path / "run")
    assert (tmp_path / "run" / "recipe.json").read_text() == kept


def test_a_label_that_is_too_long_is_refused_before_training(
    folder: Path, clip_recipe: Callable[[Path], Recipe], tmp_path: Path
) -> None:
    """Training would cut it off in silence, and the bundle refuse it in the end."""
    (folder / "labels.csv").write_text("path,label\nup.mp4," + "very " * 20 + "bright\ndown.mp4,darker\n")
    with pytest.raises(RecipeError, match=r"'very .*' has more words than the text tower reads \(24 tokens"):
        loop.train(clip_recipe(folder), tmp_path / "run")


def test_real_clips_train(clip_recipe: Callable[[Path], Recipe], tmp_path: Path) -> None:
    """Some steps on real footage of six interactions, AVI files of many sizes, run through and are measured."""
    if not FOOTAGE.is_dir():
        pytest.skip(f"no footage at {FOOTAGE}: training on real clips was not tested")
    rows = [
        {"path": str(path.resolve()), "label": kind.name, "split": "validate" if number == 2 else "train"}
        for kind in sorted(FOOTAGE.iterdir())
        if kind.is_dir()
        for number, path in enumerate(sorted(kind.glob("*.avi"))[:3])
    ]
    (tmp_path / "labels.json").write_text(json.dumps(rows))
    result = loop.train(clip_recipe(tmp_path / "labels.json"), tmp_path / "run")
    assert result["clips"] == 6.0 and 0.0 <= result["clips_top1"] <= 1.0
    assert "hand shaking" in checkpoint.load_model(tmp_path / "run" / checkpoint.NAME)[1].model.labels
