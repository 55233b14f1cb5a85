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
