"""Examples as labelled clips: the trainer reads them, and they show what was enrolled, when it was shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.camera.sampling import sample_file
from pipeline.errors import ConfigurationError
from pipeline.examples.export import export
from pipeline.records.examples import Example, ExamplePicture
from pipeline.records.jpeg import decode_jpeg, encode_jpeg
from pipeline.records.labels import Label
from trainer.data.manifest import scan


def example(label: str, shade: int, camera: str = "", pixel: float = 1.0) -> Example:
    """Pictures at the ticks 0, 1 and 4, each brighter than the one before."""
    jpegs = [encode_jpeg(np.full((64, 96, 3), shade + 40 * place, np.uint8)) for place in range(3)]
    pictures = tuple(ExamplePicture(tick, pixel, jpeg) for tick, jpeg in zip((0, 1, 4), jpegs, strict=True))
    return Example(label, 4, pictures, f"clip {shade}.mp4", camera)


FENCE, GATE, WIND = example("fence", 10), example("fence", 30, "gate"), example("fence", 50, "gate", 2.0)
LABEL = Label("fence", "over the fence", examples=(FENCE.id, GATE.id), counterexamples=(WIND.id,))
FOUND = {("fence", one.id): one for one in (FENCE, GATE, WIND)}


def test_the_trainer_reads_what_was_enrolled(tmp_path: Path) -> None:
    """Actions under their text, what they are not as background, and the clips of one camera in one group."""
    assert export([LABEL], FOUND, tmp_path / "out") == (2, 1)
    clips = scan(tmp_path / "out" / "labels.csv").clips
    assert [(clip.label, clip.role, clip.group) for clip in clips] == [
        ("over the fence", "action", "clip 10.mp4"),
        ("over the fence", "action", "gate"),
        ("", "background", "gate"),
    ]


def test_a_clip_shows_the_same_pictures_at_the_same_times(tmp_path: Path) -> None:
    """Two in a row, then one three ticks later; no bit of a picture is lost, and a squashed scene gets its shape."""
    export([LABEL], FOUND, tmp_path / "out")
    for one, size in ((FENCE, (96, 64)), (WIND, (192, 64))):
        file = tmp_path / "out" / "clips" / f"fence-{one.id}.mp4"
        frames = list(sample_file(file, "fence", 4, 10**9, 64))
        assert [frame.tick - frames[0].tick for frame in frames] == [0, 1, 4]
        assert {(frame.image.shape[1], frame.image.shape[0]) for frame in frames} == {size}
        shades = [decode_jpeg(picture.jpeg).mean() for picture in one.pictures]
        assert [frame.image.mean() for frame in frames] == pytest.approx(shades, abs=2)


def test_what_is_gone_is_left_out_and_an_action_is_no_background(tmp_path: Path) -> None:
    """What one label is not may be another: then it is that."""
    wind = Label("wind", "in the wind", examples=(WIND.id,))
    found = {**FOUND, ("wind", WIND.id): replace(WIND, label="wind")}
    del found["fence", GATE.id]
    assert export([LABEL, wind], found, tmp_path / "out") == (2, 0)


def test_a_folder_that_holds_clips_is_not_written_over(tmp_path: Path) -> None:
    """Nor is one that cannot be made."""
    export([LABEL], FOUND, tmp_path / "out")
    with pytest.raises(ConfigurationError, match="is there already; name a new folder"):
        export([LABEL], FOUND, tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        export([LABEL], FOUND, tmp_path / "file" / "out")
