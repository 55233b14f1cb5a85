"""The user's own recordings as material for a calibration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.calibration.streams import own
from trainer.errors import CalibrationError

FALL = {"label": "a person falls", "start": 2.0, "end": 3.5}
RUN = {"label": "a person runs", "start": 5.0, "end": 9.0}


def document(folder: Path, name: str, cameras: dict[str, list[dict[str, Any]]], **more: Any) -> Path:
    """A truth document beside a (here empty) video of each camera."""
    for camera in cameras:
        (folder / f"{camera}.mp4").touch()
    entries = [{"id": camera, "file": f"{camera}.mp4", "actions": actions} for camera, actions in cameras.items()]
    (folder / name).write_text(json.dumps({"schema": 1, "seconds": 60, "cameras": entries, **more}))
    return folder / name


def test_cameras_without_actions_are_the_quiet_ones(tmp_path: Path) -> None:
    """Videos are found beside the document, labels in the order in which they first appear."""
    fit = document(tmp_path, "fit.json", {"yard": [RUN, FALL], "hall": [], "gate": [RUN]})
    held_back = document(tmp_path, "held-back.json", {"door": [FALL]})
    found = own(fit, held_back)
    assert found.labels == ("a person runs", "a person falls")
    assert found.fit.files == {name: (tmp_path / f"{name}.mp4").resolve() for name in ("yard", "gate")}
    assert [camera["id"] for camera in found.quiet.truth["cameras"]] == ["hall"]
    assert found.held_back.truth["cameras"] == [{"id": "door", "seconds": 60.0, "actions": [FALL]}]
    assert not found.held_back_quiet.files
    assert found.fit.hours == pytest.approx(120 / 3600)


def test_labels_are_spelt_as_a_list_of_clips_spells_them(tmp_path: Path) -> None:
    """Class names become words, and blanks at their ends or doubled ones do not make another label."""
    names = {"yard": "OpenDoor", "hall": " open  door ", "gate": "a person  falls"}
    fit = document(tmp_path, "fit.json", {camera: [{**FALL, "label": name}] for camera, name in names.items()})
    held_back = document(tmp_path, "held-back.json", {"door": [{**FALL, "label": "open_door"}]})
    found = own(fit, held_back)
    assert found.labels == ("open door", "a person falls")
    assert found.held_back.truth["cameras"][0]["actions"][0]["label"] == "open door"


def test_documents_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    """Each error names the document or the video, and what to do."""
    good = document(tmp_path, "good.json", {"door": [FALL]})

    def refused(fit: Path, held_back: Path, why: str) -> None:
        with pytest.raises(CalibrationError, match=why):
            own(fit, held_back)

    refused(good, document(tmp_path, "same.json", {"door": [FALL]}), r"door\.mp4 would both fit and measure")
    refused(good, document(tmp_path, "other.json", {"yard": [RUN]}), r"'a person runs' happens in .*other\.json only")
    refused(good, document(tmp_path, "empty.json", {"yard": []}), r"empty\.json names no actions")
    refused(document(tmp_path, "old.json", {"yard": [RUN]}, schema=7), good, r"old\.json cannot be read as truth")
    refused(document(tmp_path, "long.json", {"yard": [RUN]}, seconds=None), good, "how long yard is; give it `seconds`")
    refused(tmp_path / "none.json", good, r"none\.json cannot be read")
    cried = {**FALL, "label": "A person falls"}
    loud = document(tmp_path, "loud.json", {"yard": [cried]})
    refused(loud, good, "'A person falls' and 'a person falls', one action")
    double = json.loads((tmp_path / "other.json").read_text())
    double["cameras"] *= 2
    (tmp_path / "double.json").write_text(json.dumps(double))
    refused(tmp_path / "double.json", good, r"double\.json names camera yard twice")
    (tmp_path / "yard.mp4").unlink()
    (tmp_path / "lost.json").write_text((tmp_path / "other.json").read_text())
    refused(tmp_path / "lost.json", good, r"there is no video .*yard\.mp4, which .*lost\.json names")


@pytest.mark.parametrize(
    ("start", "end", "why"),
    [
        (
            40_000,
            50_000,
            "camera 'yard': 'a person falls' from 40000 to 50000 s is beyond its end of 60 s; are these milli",
        ),
        (40, 30, "ends before it has lasted"),
        (-50, -40, "begins before its recording"),
        (float("nan"), 30, "no span of time"),
        (10, float("inf"), "no span of time"),
    ],
)
def test_what_cannot_have_happened_is_refused(tmp_path: Path, start: float, end: float, why: str) -> None:
    """As `actionwire evaluate` refuses it, with camera and value, in one line."""
    good = document(tmp_path, "good.json", {"door": [FALL]})
    wrong = document(tmp_path, "wrong.json", {"yard": [FALL, {**FALL, "start": start, "end": end}]})
    with pytest.raises(CalibrationError, match=r"wrong\.json: .*" + why) as caught:
        own(wrong, good)

    assert str(caught.value).isprintable()


def test_a_recording_without_a_length_is_refused(tmp_path: Path) -> None:
    """And an overhang of less than a second is cut off."""
    good = document(tmp_path, "good.json", {"door": [{**FALL, "end": 60.5}]})
    with pytest.raises(CalibrationError, match=r"empty\.json: camera 'yard' lasts 0 s"):
        own(document(tmp_path, "empty.json", {"yard": [FALL]}, seconds=0), good)

    found = own(document(tmp_path, "fit.json", {"yard": [FALL]}), good)
    assert found.held_back.truth["cameras"][0]["actions"][0]["end"] == 60.0


def test_a_document_of_another_form_is_refused_in_one_line(tmp_path: Path) -> None:
    """The first thing that is wrong is named with its place."""
    good = document(tmp_path, "good.json", {"door": [FALL]})
    with pytest.raises(CalibrationError, match=r"odd\.json .*cameras\.0\.actions\.0\.start") as caught:
        own(document(tmp_path, "odd.json", {"yard": [{**FALL, "start": "early"}]}), good)

    assert str(caught.value).isprintable()
