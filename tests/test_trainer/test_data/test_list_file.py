"""Lists as spreadsheets and programs write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.list_file import read_rows
from trainer.data.manifest import read_list, scan
from trainer.errors import RecipeError


def labels(listed: Path, text: str | bytes, name: str = "list.csv") -> list[str]:
    """The labels of a list with this text."""
    path = listed / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [clip.label for clip in read_list(path)]


GOOD = "path,label\nup.mp4,gets brighter\ndown.mp4,gets darker\n"
READ = ["gets brighter", "gets darker"]


@pytest.mark.parametrize(
    "text",
    [
        "path, label, start, end\nup.mp4, gets brighter, ,\ndown.mp4 ,gets darker,,\n",
        " Path\t;LABEL \nup.mp4;gets brighter\ndown.mp4;gets darker\n",
        "path\tlabel\nup.mp4\tgets brighter\ndown.mp4\tgets darker\n",
        "sep=;\npath;label;start\nup.mp4;gets brighter;0,5\ndown.mp4;gets darker;\n",
        'path,label\nup.mp4,"gets\nbrighter"\ndown.mp4,"gets\r\n\tdarker"\n',
        '"path","label"\n"up.mp4","gets\u2028brighter"\n"down.mp4","gets\u00a0darker"\n',
        "\ufeffpath,label\r\n\r\nup.mp4,gets brighter\r\n,,\r\ndown.mp4,gets darker,,,\r\n\r\n",
        "path,label\rup.mp4,gets brighter\rdown.mp4,gets darker\r",
        GOOD.encode("utf-16"),
        GOOD.encode("utf-16-le"),
        GOOD.encode("utf-16-be"),
        GOOD.encode("utf-32"),
        "path,label,split\nup.mp4,gets brighter,Training\ndown.mp4,gets darker,train\n",
    ],
)
def test_what_spreadsheets_write_is_read_as_it_was_meant(listed: Path, text: str | bytes) -> None:
    """Blanks in the header, other separators, line breaks in a label, byte order marks, empty lines, encodings."""
    assert labels(listed, text) == READ


def test_decimal_commas_are_read_where_they_separate_nothing(listed: Path) -> None:
    """A spreadsheet that puts semicolons between columns writes 2,5 for two and a half."""
    (listed / "list.csv").write_text("path;label;start;end\nup.mp4;x;0,5;1,25\ndown.mp4;y;;\n")
    clip = read_list(listed / "list.csv")[0]
    assert (clip.start, clip.end) == (0.5, 1.25)


def test_apostrophes_and_emoji_stay(listed: Path) -> None:
    """A label is the user's own words."""
    assert labels(listed, "path,label\nup.mp4,somebody's hat 🎩 falls\ndown.mp4,größer 5\"\n") == [
        "somebody's hat 🎩 falls",
        'größer 5"',
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,label\nup.mp4,moves something, left to right\n",
            "row 2: it has 3 fields, the header 2; put quotation marks around a text that holds commas",
        ),
        ("path,label,note\nup.mp4,x,\ndown.mp4,falls, then lies,by Ann\n", "row 3: it has 4 fields, the header 3"),
        ("path;label\nup.mp4;falls; then lies\n", "text that holds semicolons"),
        ("file|label\nup.mp4|x\n", r"no column path: its first row names file\|label \(commas between them\)"),
        ("up.mp4,x\ndown.mp4,y\n", r"no column path: its first row names up\.mp4, x \(commas"),
        ("path,name\nup.mp4,x\n", "no column label: its first row names path, name"),
        ("path,label,Label\nup.mp4,x,y\n", "two columns label"),
        ('path,label\nup.mp4,x\ndown.mp4,"falls\nup.mp4,x\n', "line 3: a quotation mark is not closed"),
        ('path,label\nup.mp4,"falls\ndown.mp4,y\nup.mp4,"z"\n', "line 2: a quotation mark is not closed"),
        ('path,label\nup.mp4,"falls\ndown.mp4,y"\n', "line 2: a quotation mark is not closed"),
        ("path,label\nup.mp4," + "x" * 140_000 + "\n", "line 2: field larger"),
        ("path,label\nup.mp4,größer\n".encode("latin-1"), r"not UTF-8 \(line 2, byte 0xf6\); save it as CSV UTF-8"),
        ("path,label\n" + "x" * 5000 + ",x\n", "row 2: there is no file"),
        ("path,label\nup\0.mp4,x\n", "row 2: there is no file"),
        ("", "names no clip"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(listed: Path, text: str | bytes, message: str) -> None:
    """The message names the list, the row and the remedy."""
    with pytest.raises(RecipeError, match=message) as raised:
        labels(listed, text)
    assert "\n" not in str(raised.value) and "list.csv" in str(raised.value) and len(str(raised.value)) < 500


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('[{"path": "up.mp4", "label": 0}]', "clip 1: the label 0 is no text"),
        ('[{"path": "up.mp4", "label": false}]', "clip 1: the label false is no text"),
        ('[{"path": "up.mp4", "labels": ["x", 1]}]', "the label 1 is no text"),
        ('[{"path": "up.mp4", "labels": 3}]', "labels is 3; write a list"),
        ('[{"path": "up.mp4", "label": "x", "end": [1]}]', r"end is seconds, not \[1\]"),
        ('[{"path": "up.mp4", "label": "x", "start": true}]', "start is seconds, not true"),
        ('[{"path": "up.mp4", "label": "x", "start": NaN}]', "start is seconds, a finite number, not 'nan'"),
        ('[{"path": "up.mp4", "label": "x", "end": 1e999}]', "a finite number, not 'inf'"),
        ('[{"path": "up.mp4", "label": "x", "end": ' + "9" * 400 + "}]", "a finite number"),
        ('[{"path": 3, "label": "x"}]', "path is 3, which is no text"),
        ('[{"path": "up.mp4", "label": "\\ud800"}]', "half a character"),
        ('[["up.mp4", "x"]]', "clip 1: .* is no object"),
        ('{"clips": []}', "is no JSON list"),
        ("[" * 100_000, "cannot be read"),
        ("[" + "9" * 5000 + "]", "cannot be read"),
        ('[{"path": "up.mp4"', "cannot be read"),
        ("[]", "names no clip"),
    ],
)
def test_json_of_other_types_is_refused_in_one_line(listed: Path, rows: str, message: str) -> None:
    """A label that is no text is never made into one."""
    with pytest.raises(RecipeError, match=message) as raised:
        labels(listed, rows, "list.json")
    assert "\n" not in str(raised.value)


def test_all_wrong_rows_are_named_at_once(listed: Path) -> None:
    """Up to five; then how many more there are."""
    rows = [{"path": f"gone{number}.mp4", "label": "x"} for number in range(7)]
    with pytest.raises(RecipeError, match=r"clip 1: .*gone0\.mp4; clip 2: .*clip 5: .*; and 2 more"):
        labels(listed, json.dumps(rows), "list.json")


@given(st.text() | st.text(alphabet='",;\t\n\r ab=', max_size=40), st.sampled_from(["a.csv", "a.json"]))
def test_whatever_a_list_holds_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str, name: str
) -> None:
    """No text ends in another error."""
    path = tmp_path_factory.getbasetemp() / name
    for start in ("", "path,label\n"):
        path.write_bytes((start + text).encode("utf-8", "surrogatepass"))
        try:
            scan(path)
        except RecipeError as error:
            assert "\n" not in str(error)


def test_rows_are_counted_as_a_spreadsheet_does(listed: Path) -> None:
    """Empty rows count; a label with a line break is one row."""
    (listed / "list.csv").write_text('path,label\n\nup.mp4,"a\nb"\n,\ndown.mp4,c\n')
    assert [row.where for row in read_rows(listed / "list.csv")] == ["row 3", "row 5"]
