"""A list looked through: what is planted is found."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from trainer.data import contact_sheet
from trainer.data.check import Checked, check
from trainer.data.decode import Pictures
from trainer.data.decoded import Size
from trainer.progress import silent

Film = Callable[..., Path]
FOOTAGE = Path(__file__).parents[3] / "../shared/data/ut_interaction"


def checked(rows: list[dict[str, object]], folder: Path, window: int = 4, **options: object) -> Checked:
    """The check of a list with these rows."""
    (folder / "labels.json").write_text(json.dumps(rows))
    return check(folder, folder / "cache", Size(4, 48, 64), window, silent, **options)  # type: ignore[arg-type]


def kinds(found: Checked, severity: str = "change") -> list[str]:
    """The kinds of the findings of a severity."""
    return [finding.kind for finding in found.findings if finding.severity == severity]


@pytest.fixture
def rows(film: Film, tmp_path: Path) -> list[dict[str, object]]:
    """Eight films of two labels in four groups, of which the last validates."""
    found: list[dict[str, object]] = []
    for group in range(4):
        for label in ("across", "down"):
            film(f"{label}{group}.mp4", label, group)
            split = "validate" if group == 3 else "train"
            found.append({"path": f"{label}{group}.mp4", "label": label, "group": f"g{group}", "split": split})
    return found


def test_a_good_list_is_clean(rows: list[dict[str, object]], tmp_path: Path) -> None:
    """Nothing has to change, and nothing is suspicious; the sheet shows an example of each label."""
    found = checked(rows, tmp_path)
    assert found.clean and found.findings == ()
    assert contact_sheet.draw(found, tmp_path / "sheet.png") == 2
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_all_that_is_wrong_is_found_at_once(rows: list[dict[str, object]], film: Film, tmp_path: Path) -> None:
    """A wrong row, two unreadable files, a copy across splits, a leaking group, two spellings, an untrained label."""
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "down0.mp4").read_bytes()[:600])
    film("copy.mp4", "across", 1, size=(64, 48), quality=32)
    more = [
        {"path": "text.mp4", "label": "down"},
        {"path": "cut.mp4", "label": "Down", "group": "g3", "split": "train"},
        {"path": "copy.mp4", "label": "across", "split": "validate"},
        {"path": "down3.mp4", "label": "lies", "split": "validate"},
        {"path": "gone.mp4", "label": "down"},
    ]
    found = checked([*rows, *more], tmp_path)
    assert not found.clean
    assert sorted(kinds(found)) == [
        "duplicate", "leaking", "row", "spelling", "splits", "unreadable", "unreadable"
    ]  # fmt: skip
    text = {finding.kind: finding.message for finding in found.findings if finding.severity == "change"}
    assert "one in train, one in validate" in text["duplicate"] and "'g3' is in train and validate" in text["leaking"]
    assert "clip 13" in text["row"] and "'down' and 'Down'" in text["spelling"] and "'lies'" in text["splits"]


def test_what_may_be_meant_is_worth_a_look(rows: list[dict[str, object]], film: Film, tmp_path: Path) -> None:
    """Short clips, an end far behind the file's, labels that differ in blanks, a label that nobody measures."""
    more = [
        {"path": "down0.mp4", "label": "a cross", "start": 1.0, "end": 1.1},
        {"path": "across0.mp4", "label": "across", "start": 1.0, "end": 40_000},
    ]
    found = checked([*rows, *more], tmp_path, window=16)
    assert found.clean and {"short", "end", "spelling", "splits"} <= set(kinds(found, "look"))


def test_a_copy_under_another_label_must_be_changed(rows: list[dict[str, object]], film: Film, tmp_path: Path) -> None:
    """One of the two is wrong, also within a split."""
    film("copy.mp4", "across", 1, quality=30)
    found = checked([*rows, {"path": "copy.mp4", "label": "down"}], tmp_path)
    assert kinds(found) == ["duplicate"]
    same = checked([*rows, {"path": "copy.mp4", "label": "across"}], tmp_path)
    assert same.clean and "duplicate" in kinds(same, "look")


def test_features_of_a_tower_may_be_plugged_in(rows: list[dict[str, object]], tmp_path: Path) -> None:
    """Any function from the frames of a clip to a vector."""
    calls: list[tuple[int, ...]] = []

    def tower(pictures: Pictures) -> np.ndarray:
        calls.append(pictures.shape)
        return np.zeros(3, np.float32)

    checked(rows, tmp_path, features=tower)
    assert calls == [(16, 48, 64, 3)] * 2 * 8  # upright and mirrored


def test_a_label_that_names_a_side_is_not_looked_at_in_a_mirror(rows: list[dict[str, object]], tmp_path: Path) -> None:
    """A mirrored clip of it would show another label."""
    calls = 0

    def tower(pictures: Pictures) -> np.ndarray:
        nonlocal calls
        calls += 1
        return np.zeros(3, np.float32)

    checked([{**row, "label": f"goes {row['label']} to the left"} for row in rows], tmp_path, features=tower)
    assert calls == len(rows)


@pytest.mark.footage
def test_what_is_planted_in_real_footage_is_found(tmp_path: Path) -> None:
    """One unreadable file, one copy that was encoded again across splits, one sequence on both sides, three flips."""
    if not FOOTAGE.is_dir():
        pytest.skip(f"no footage at {FOOTAGE}: the check of real clips was not tested")
    rng = random.Random(4)
    with (FOOTAGE / "MANIFEST.csv").open() as stream:
        rows = [
            {"path": str((FOOTAGE / row["path"]).resolve()), "label": row["label"], "group": row["subject"]}
            for row in csv.DictReader(stream)
            if row["label"] in ("hugging", "kicking", "pointing")
        ]
    rows = [
        {**row, "split": "validate" if row["group"] in ("seq3", "seq7", "seq14", "seq19") else "train"} for row in rows
    ]
    (tmp_path / "cut.avi").write_bytes(Path(rows[0]["path"]).read_bytes()[:1000])
    rows[0]["path"] = str(tmp_path / "cut.avi")
    source = next(row for row in rows[1:] if row["split"] == "train")
    with av.open(source["path"]) as film, av.open(str(tmp_path / "copy.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.options = 320, 240, "yuv420p", {"crf": "30"}
        for frame in film.decode(video=0):
            small = frame.reformat(320, 240, "yuv420p").to_ndarray()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(small, "yuv420p")))
        container.mux(stream.encode(None))
    rows.append({**source, "path": str(tmp_path / "copy.mp4"), "split": "validate", "group": "elsewhere"})
    next(row for row in rows[2:] if row["group"] == "seq5")["split"] = "validate"
    labels = sorted({row["label"] for row in rows})
    flipped = rng.sample([row for row in rows[1:-1] if row is not source], 3)
    for row in flipped:
        row["label"] = rng.choice([label for label in labels if label != row["label"]])
    (tmp_path / "labels.json").write_text(json.dumps(rows))
    found = check(tmp_path, tmp_path / "cache", Size(4, 96, 128), 12, silent)
    must = {finding.kind: [Path(clip.path).name for clip in finding.clips] for finding in found.findings[:3]}
    assert sorted(kinds(found)) == ["duplicate", "leaking", "unreadable"]
    assert must["unreadable"] == ["cut.avi"]
    assert must["duplicate"] == [Path(source["path"]).name, "copy.mp4"]
    suspicious = [finding.clips[0].path for finding in found.findings if finding.kind == "suspicious"]
    assert len(suspicious) <= 10 and {row["path"] for row in flipped} <= set(suspicious)
