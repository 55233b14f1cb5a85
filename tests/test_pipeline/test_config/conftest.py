"""A settings file that is found without being named."""

from pathlib import Path

import pytest

THREE_LINES = """
cameras:
  front-door:
    url: rtsp://viewer:${DOOR_PASSWORD}@10.0.0.7/stream1
labels:
  - a person falls down
  - {text: two people fight, cameras: ["front-*"], enter: 0.7}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the README's first camera, away from any other configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ACTIONWIRE_CONFIG", raising=False)
    monkeypatch.setenv("DOOR_PASSWORD", "s3cret")
    path = tmp_path / "actionwire.yaml"
    path.write_text(THREE_LINES)
    return path
