"""Rendered cameras, kept by seed."""

from pathlib import Path

import av
import pytest

from pipeline.demo import WATCHED
from pipeline.demo.recordings import recording
from pipeline.errors import ActionwireError


def test_a_recording_is_rendered_once(tmp_path: Path) -> None:
    """The second time the files are taken from the cache, untouched."""
    first = recording(20123, 1, 2.0, tmp_path)
    stamps = {file: file.stat().st_mtime_ns for file in first.files.values()}

    second = recording(20123, 1, 2.0, tmp_path)

    assert second.truth == first.truth
    assert {file: file.stat().st_mtime_ns for file in second.files.values()} == stamps
    with av.open(str(second.files["camera-1"])) as container:
        assert container.streams.video[0].frames == 24


def test_nothing_half_made_stays(tmp_path: Path) -> None:
    """A rendering that fails leaves no folder that a later run would take for a recording."""
    with pytest.raises(ActionwireError, match="exit code"):
        recording(20123, 1, -5.0, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_the_watched_labels_are_texts_of_the_scenes(tmp_path: Path) -> None:
    """Every label that the demo watches for is the text of an action that the scenes can show."""
    words = (Path(__file__).parents[3] / "trainer/scenes/vocabulary.py").read_text()

    assert len(set(WATCHED)) == 8
    assert all(f'"{text}"' in words for text in WATCHED)
