"""A list of a user's own labelled clips."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.data.folder import write_list
from trainer.data.manifest import Clip, leaking_groups, list_hash, read_list
from trainer.errors import RecipeError


def test_lists_are_read_as_csv_and_as_json(listed: Path) -> None:
    """Class names become words, missing columns have defaults, paths are relative to the list."""
    found = read_list(listed)
    assert found[0] == Clip(str(listed / "up.mp4"), "gets brighter")
    assert found[2] == Clip(str(listed / "down.mp4"), "gets darker", 1.0, 2.0, "validate")
    rows = [{"path": "up.mp4", "label": "GetsBrighter"}, {"path": "down.mp4", "label": "gets_darker", "end": 1.0}]
    (listed / "labels.json").write_text(json.dumps(rows))
    assert read_list(listed / "labels.json") == found[:2]


def test_groups_roles_and_several_labels_are_read(listed: Path) -> None:
    """In both forms; background needs no label, and one action beside it is enough."""
    (listed / "list.csv").write_text(
        "path,labels,group,role,split\nup.mp4,GetsBrighter|moves,cam 1,,\ndown.mp4,,cam2,Background,test\n"
    )
    rows = [
        {"path": "up.mp4", "labels": ["GetsBrighter", "moves"], "group": "cam 1"},
        {"path": "down.mp4", "group": "cam2", "role": "background", "split": "test"},
    ]
    (listed / "list.json").write_text(json.dumps(rows))
    found = read_list(listed / "list.csv")
    assert found == read_list(listed / "list.json")
    assert found[0].labels == ("gets brighter", "moves") and found[0].group == "cam 1"
    assert found[1].background and found[1].labels == () and found[1].split == "test"


def test_what_stands_in_the_labels_of_background_are_texts_of_it(listed: Path) -> None:
    """No label happens there, so it has none; in CSV and in JSON, and a list that was written reads the same."""
    (listed / "list.csv").write_text(
        "path,labels,role\nup.mp4,GetsBrighter,\ndown.mp4,a_door_swings|TreesMove,background\n"
    )
    rows = [
        {"path": "up.mp4", "label": "GetsBrighter"},
        {"path": "down.mp4", "labels": ["a door swings", "trees move"], "role": "background"},
    ]
    (listed / "list.json").write_text(json.dumps(rows))
    found = read_list(listed / "list.csv")
    assert found == read_list(listed / "list.json")
    assert found[1].labels == () and found[1].background and found[1].shows == ("a door swings", "trees move")
    write_list(found, listed / "again.csv")
    assert read_list(listed / "again.csv") == found
    assert list_hash(found) != list_hash([found[0], replace(found[1], shows=())])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "names no clip"),
        ("up.mp4,\n", "row 2: it lacks path or label"),
        ("up.mp4,x\n,y\n", "row 3: it lacks path or label"),
        ("gone.mp4,x\n", "no file"),
        ("up.mp4,x,two\n", "seconds"),
        ("up.mp4,x,nan\nup.mp4,x,1,2\n", "row 2: start is seconds, a finite number, not 'nan'"),
        ("up.mp4,x,0,infinity\n", "end is seconds, a finite number"),
        ("up.mp4,x,2,1\n", "does not lie behind"),
        ("up.mp4,x,,,dev\n", "split 'dev' is none of train, validate, test"),
        ("up.mp4,x,,,validate\n", "no clip to train on"),
        ("up.mp4,x,,,,,quiet\n", "role 'quiet' is none of action, background"),
        ("up.mp4,x\ndown.mp4,X,,,,,background\n", "'X' is a label and a text of background"),
        ("up.mp4,x\ndown.mp4, x\n", "one label only, 'x'"),
        ("up.mp4,OpenDoor\ndown.mp4,Open  Door\n", "'open door' and 'Open Door', one label"),
        ("up.mp4,x,,2,\nup.mp4,y,1,3,validate\n", r"seconds of .*up\.mp4 in two splits"),
        ("up.mp4,x,,,\n./up.mp4,y,1,3,test\n", r"seconds of .*up\.mp4 in two splits"),
        ("up.mp4,x,0,1\nup.mp4,x,1,2,validate\nup.mp4,x,2,3,test\nup.mp4,y,0,3\n", "in two splits"),
        ("up.mp4,x\ndown.mp4,y,0,1\ndown.mp4,CrawlsAway,1,2,validate\n", "only clips of validate .* 'crawls away'"),
        ("up.mp4,x\ndown.mp4,y,0,1\ndown.mp4,z,1,2,test\n", "only clips of test have the label 'z'"),
        ("up.mp4,x,,,,cam\ndown.mp4,y,0,1\ndown.mp4,x,1,2,test,cam\n", "group 'cam' is in train and test"),
    ],
)
def test_a_wrong_list_is_refused_with_its_row(listed: Path, rows: str, message: str) -> None:
    """The error names the list, the row and the reason."""
    (listed / "labels.csv").write_text("path,label,start,end,split,group,role\n" + rows)
    with pytest.raises(RecipeError, match=message) as raised:
        read_list(listed)
    assert "labels.csv" in str(raised.value) and "\n" not in str(raised.value)


def test_a_hash_changes_with_what_a_list_says(listed: Path) -> None:
    """Columns of later versions count only where they are used: older runs know their list again."""
    clip = Clip(str(listed / "up.mp4"), "x")
    assert list_hash([clip]) == list_hash([Clip(str(listed / "up.mp4"), "x", group="", role="action")])
    others = [Clip(clip.path, "x", group="a"), Clip(clip.path, "x", also=("y",)), Clip(clip.path, "x", split="test")]
    assert len({list_hash([one]) for one in (clip, *others)}) == 4


def test_a_group_in_two_splits_is_found() -> None:
    """Whatever the files are called; clips without a group share nothing."""
    clips = [
        Clip("a", "x", group="1"),
        Clip("b", "x", group="1", split="test"),
        Clip("c", "x"),
        Clip("d", "x", split="test"),
    ]
    assert leaking_groups(clips) == {"1": ["train", "test"]}
