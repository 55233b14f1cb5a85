"""From a folder of videos to a list of clips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.data.folder import Made, clips_in, summary, write_list
from trainer.data.manifest import read_list
from trainer.errors import RecipeError

Film = Callable[..., Path]


def made(folder: Path, **options: Any) -> Made:
    """The clips of a folder, with shares of a third for test and validate."""
    rules = {"shares": {"test": 1 / 3, "validate": 1 / 3}, "seed": 1, "group_column": "group", "group_pattern": None}
    return clips_in(folder, said=lambda done, of: None, **{**rules, **options})  # type: ignore[arg-type]


def test_a_folder_per_label_becomes_a_list_with_grouped_splits(film: Film, tmp_path: Path) -> None:
    """Names become words, `quiet` is background, groups stay together, what is no video is named and left out."""
    for group in range(3):
        for kind, name in (("across", "GoesAcross"), ("down", "goes_down")):
            film(f"videos/{name}/cam{group}-a.mp4", kind, group)
            film(f"videos/{name}/deeper/cam{group}-b.avi", kind, group)
        film(f"videos/quiet/cam{group}.mkv", "nowhere", group)
    (tmp_path / "videos/GoesAcross/cam1-broken.mp4").write_text("no video")
    (tmp_path / "videos/GoesAcross/notes.txt").write_text("no video either")
    found = made(tmp_path / "videos", group_pattern="(cam[0-9])")
    assert [Path(path).name for path in found.unreadable] == ["cam1-broken.mp4"]
    assert {clip.label for clip in found.clips} == {"goes across", "goes down", ""}
    sides = {(clip.group, clip.split) for clip in found.clips}
    assert len(sides) == 3 and {split for _, split in sides} == {"train", "validate", "test"}
    write_list(found.clips, tmp_path / "videos/labels.csv")
    assert read_list(tmp_path / "videos") == list(found.clips)
    figures = summary(found, tmp_path / "videos/labels.csv")
    assert (figures["clips"], figures["background"], figures["groups"]) == (15, 3, 3)
    assert figures["labels"]["goes down"] == {"train": 2, "validate": 2, "test": 2}  # type: ignore[index]


def test_splits_that_the_folders_name_are_kept(film: Film, tmp_path: Path) -> None:
    """train, val and test above the labels."""
    for split in ("train", "val", "test"):
        film(f"{split}/falls/a.mp4", "down", 1)
        film(f"{split}/walks/b.mp4", "across", 2)
    found = made(tmp_path)
    assert sorted((clip.split, clip.label) for clip in found.clips) == [
        (split, label) for split in ("test", "train", "validate") for label in ("falls", "walks")
    ]


def test_parts_beside_each_video_and_one_table_for_all(film: Film, tmp_path: Path) -> None:
    """The same parts in both forms; a column of the user's own says what clips share."""
    for name in ("a", "b", "c"):
        film(f"one/{name}.mp4", "down", 1)
        film(f"all/{name}.mp4", "down", 1)
        (tmp_path / f"one/{name}.csv").write_text(f"label,start,end,room\nFalls,0,1,{name}\nlies,1.5,2.5,{name}\n")
    rows = "".join(f"{name}.mp4,Falls,0,1,{name}\n{name}.mp4,lies,1.5,2.5,{name}\n" for name in "abc")
    (tmp_path / "all/Annotations.csv").write_text("path,label,start,end,Room\n" + rows)
    one, both = (made(tmp_path / form, group_column="room") for form in ("one", "all"))
    shown = [
        [(Path(c.path).name, c.label, c.start, c.end, c.group, c.split) for c in form.clips] for form in (one, both)
    ]
    assert shown[0] == shown[1] and len(shown[0]) == 6
    assert {clip.split for clip in one.clips} == {"train", "validate", "test"}


def test_what_cannot_be_a_list_is_refused(film: Film, tmp_path: Path) -> None:
    """No labels, no folder, a wrong table, a wrong expression."""
    film("flat/a.mp4", "down", 1)
    with pytest.raises(RecipeError, match="holds no labelled video: make a folder per label"):
        made(tmp_path / "flat")
    with pytest.raises(RecipeError, match="is no folder"):
        made(tmp_path / "gone")
    (tmp_path / "flat/a.csv").write_text("label,start\nx,soon\n")
    with pytest.raises(RecipeError, match=r"a\.csv, row 2: start is seconds"):
        made(tmp_path / "flat")
    (tmp_path / "flat/a.csv").write_text("label\nx\n")
    with pytest.raises(RecipeError, match="no regular expression"):
        made(tmp_path / "flat", group_pattern="(")


def test_what_cannot_be_drawn_is_told(film: Film, tmp_path: Path) -> None:
    """One clip of a label stays in training."""
    film("falls/a.mp4", "down", 1)
    film("walks/b.mp4", "across", 2)
    assert made(tmp_path).undrawn == ("test", "validate")


def test_a_list_elsewhere_has_whole_paths(film: Film, tmp_path: Path) -> None:
    """So that it can be read from there."""
    film("videos/falls/a.mp4", "down", 1)
    film("videos/walks/b, c.mp4", "across", 2)
    found = made(tmp_path / "videos")
    write_list(found.clips, tmp_path / "lists/own.csv")
    assert {Path(clip.path) for clip in read_list(tmp_path / "lists/own.csv")} == {
        Path(clip.path) for clip in found.clips
    }
