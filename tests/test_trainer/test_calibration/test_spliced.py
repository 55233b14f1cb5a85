"""Streams made of clips: what lies where, and what the quiet stretches show."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engines.bundle.manifest import Input, Window
from trainer.calibration.spliced import BACKGROUND, HELD, Form, quiet_streams, splice
from trainer.data.decode import read_clip
from trainer.data.encode import encode_mp4
from trainer.data.manifest import Clip

FORM = Form(
    Window(frames=4, rate=4),
    Input(height=32, width=48, resize="area", crop="squash", mean=(0.5,) * 3, std=(0.5,) * 3),
)
QUIET = FORM.quiet


def clip(folder: Path, name: str, level: int, seconds: float = 2.0, label: str = "") -> Clip:
    """A file of one grey level."""
    frames = (np.full((64, 96, 3), level, np.uint8) for _ in range(round(10 * seconds)))
    encode_mp4(frames, folder / f"{name}.mp4", 10, 400_000)
    return Clip(str(folder / f"{name}.mp4"), label, role="action" if label else "background")


def levels(path: Path) -> list[int]:
    """The mean grey level of each picture of a stream, which has one per tick."""
    return [round(float(picture.mean())) for _, picture in read_clip(path, 4)]


def test_clips_lie_between_quiet_stretches_and_the_truth_says_where(tmp_path: Path) -> None:
    """Two clips of 2 s, at 4 pictures a second, between stretches of a window and 2 s of background.

    |-- 3 s background --| a |-- 3 s background --| b |-- 3 s background --|
    """
    shown = [clip(tmp_path, "a", 200, label="a"), clip(tmp_path, "b", 60, label="b")]
    made = splice(shown, [clip(tmp_path, "c", 120)], FORM, tmp_path, lambda done, of: None)

    (camera,) = made.recorded.truth["cameras"]
    assert QUIET == 12 and made.quiet_shows == BACKGROUND and made.clips == {"a": 1, "b": 1}
    assert camera["actions"] == [
        {"label": "a", "start": 3.0, "end": 5.0},
        {"label": "b", "start": 8.0, "end": 10.0},
    ]
    found = levels(made.recorded.files[camera["id"]])
    assert len(found) == camera["seconds"] * 4 == 52
    expected = [120] * 12 + [200] * 8 + [120] * 12 + [60] * 8 + [120] * 12
    assert np.abs(np.array(found) - expected).max() <= 3


def test_without_background_the_first_picture_of_the_next_clip_is_held(tmp_path: Path) -> None:
    """A still scene, in the light of the clip; what the stretches show is said."""
    made = splice([clip(tmp_path, "a", 200, label="a")], [], FORM, tmp_path, lambda done, of: None)

    assert made.quiet_shows == HELD
    assert set(levels(next(iter(made.recorded.files.values())))) <= set(range(197, 204))


def test_an_unreadable_clip_is_named_and_the_others_are_spliced(tmp_path: Path) -> None:
    """So is a file that holds no video; a stream of nothing but such files is not made."""
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    bad = Clip(str(tmp_path / "bad.mp4"), "a")
    made = splice([bad, clip(tmp_path, "a", 90, label="a")], [], FORM, tmp_path, lambda done, of: None)
    none = splice([bad], [], FORM, tmp_path, lambda done, of: None, prefix="none")

    assert list(made.skipped) == [bad.place] and made.clips == {"a": 1}
    assert none.recorded.files == {} and list(none.skipped) == [bad.place]


def test_background_becomes_a_stream_in_which_nothing_happens(tmp_path: Path) -> None:
    """All of it, one clip after the other; too little for two windows is none."""
    background = [clip(tmp_path, "c", 120), clip(tmp_path, "d", 40)]
    made = quiet_streams(background, FORM, tmp_path, lambda done, of: None, "quiet")
    short = quiet_streams([clip(tmp_path, "e", 40, seconds=1.0)], FORM, tmp_path, lambda done, of: None, "short")

    assert made.truth["cameras"] == [{"id": "quiet", "seconds": 4.0, "actions": []}]
    assert short.files == {}
