"""Labelled clips, decoded once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engines.bundle.manifest import Input
from trainer.data import cache
from trainer.data.cache import open_clips
from trainer.data.decode import read_clip
from trainer.errors import RecipeError
from trainer.scenes.picture.encode import encode_mp4

FORM = Input(height=32, width=32, resize="area", crop="squash", mean=(0, 0, 0), std=(1, 1, 1))


def test_clips_are_decoded_once_and_sampled_both_ways(listed: Path) -> None:
    """Brightness tells which frames were taken: segments span the clip, windows are consecutive, parts are parts."""

    def opened(told: list[int]) -> object:
        return open_clips(
            listed,
            ("gets brighter", "gets darker"),
            listed / "cache",
            10,
            FORM,
            lambda done, of: told.append(done),
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


def test_a_file_is_read_once_and_only_as_far_as_its_parts_go(listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a long recording share one reading, which ends with the last of them; where they overlap, so do they.

    down.mp4  0         1         2         3 s
    parts     |---------|    |----|
                   |---------|
    """
    rows = [(0.0, 1.0), (0.5, 1.5), (1.5, 2.0)]
    (listed / "labels.json").write_text(
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

    monkeypatch.setattr(cache, "read_clip", counted)
    clips = open_clips(listed / "labels.json", ("x", "y"), listed / "cache", 10, FORM, lambda done, of: None)
    assert clips.bounds == ((0, 1), (1, 10), (6, 10), (16, 5)) and len(told) == 2 + 21
    assert clips.sample(2, 1).mean() == pytest.approx(clips.frames[11].mean())


def test_a_video_that_was_replaced_is_decoded_again(listed: Path) -> None:
    """Frames in the cache are those of files of this size."""

    def opened() -> np.ndarray:
        names = ("gets brighter", "gets darker")
        return open_clips(listed, names, listed / "cache", 10, FORM, lambda done, of: None).frames

    before = np.array(opened())
    encode_mp4((np.full((64, 64, 3), 90, np.uint8) for _ in range(30)), listed / "up.mp4", 10, 100_000)
    assert not np.array_equal(before, opened())


def test_a_label_that_a_model_does_not_know_is_named(listed: Path) -> None:
    """A list that got a new label after training cannot be measured with that model."""
    with pytest.raises(RecipeError, match="'gets darker', which this model was not trained on"):
        open_clips(listed, ("gets brighter",), listed / "cache", 10, FORM, lambda done, of: None)


def test_what_is_no_video_is_named(listed: Path) -> None:
    """A text file in the list is an error about that file."""
    (listed / "up.mp4").write_text("not a video")
    with pytest.raises(RecipeError, match=r"up\.mp4 cannot be decoded"):
        open_clips(listed, ("gets brighter", "gets darker"), listed / "cache", 10, FORM, lambda done, of: None)
