"""A list of a user's own labelled clips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainer.data.manifest import Clip, read_list
from trainer.errors import RecipeError


def test_lists_are_read_as_csv_and_as_json(listed: Path) -> None:
    """Class names become words, missing columns have defaults, paths are relative to the list."""
    found = read_list(listed)
    assert found[0] == Clip(str(listed / "up.mp4"), "gets brighter")
    assert found[2] == Clip(str(listed / "down.mp4"), "gets darker", 1.0, 2.0, "validate")
    rows = [{"path": "up.mp4", "label": "GetsBrighter"}, {"path": "down.mp4", "label": "gets_darker", "end": 1.0}]
    (listed / "labels.json").write_text(json.dumps(rows))
    assert read_list(listed / "labels.json") == found[:2]


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
def test_a_wrong_list_is_refused_with_its_row(listed: Path, rows: str, message: str) -> None:
    """The error names the list, the row and the reason."""
    (listed / "labels.csv").write_text("path,label,start,end,split\n" + rows)
    with pytest.raises(RecipeError, match=message):
        read_list(listed)
