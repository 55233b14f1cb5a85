"""The demo's scenes by replay."""

from pathlib import Path

import pytest

from engines.testing import tiny_bundle
from pipeline.demo.recordings import Recording
from pipeline.demo.replayed import run_replay
from pipeline.local.test_card import write_test_card


def test_settings_in_the_current_folder_decide_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment's settings lie where the command is run: here with a password that this shell does not know."""
    write_test_card(tmp_path / "camera-1.mp4", seconds=3)
    bundle = tiny_bundle(tmp_path / "tiny")
    cameras = [{"id": "camera-1", "file": "camera-1.mp4", "actions": []}]
    found = Recording(tmp_path, {"schema": 1, "seed": 20001, "seconds": 3, "cameras": cameras})
    (tmp_path / "actionwire.yaml").write_text("cameras: {door: {url: 'rtsp://ann:${NOT_SET}@10.0.0.7/1'}}\n")
    monkeypatch.chdir(tmp_path)

    figures = run_replay([lambda: found], ("red",), str(bundle), lambda done, words: None)

    assert figures["camera_hours"] == pytest.approx(3 / 3600)
