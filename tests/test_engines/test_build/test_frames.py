"""Frames to calibrate with, from pictures and recordings."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from engines.build.frames import calibration_frames
from engines.bundle.manifest import Input
from engines.errors import CalibrationError

FORM = Input(height=24, width=32, resize="area", crop="squash", mean=(0.5,) * 3, std=(1.0,) * 3)


def _pictures(folder: Path, count: int) -> None:
    for index in range(count):
        picture = np.full((48, 64, 3), (0, 0, 10 * index), np.uint8)  # blue, green, red
        cv2.imwrite(str(folder / f"{index:03}.png"), picture)


def _recording(path: Path, frames: int) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 64, 48
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * index, np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def test_frames_are_spread_over_all_that_is_there(tmp_path: Path) -> None:
    """Every fourth of twenty pictures, red still red, at the network's size."""
    _pictures(tmp_path, 20)
    frames = calibration_frames(tmp_path, FORM, 5)
    assert frames.shape == (5, 24, 32, 3)
    np.testing.assert_array_equal(frames[:, 0, 0], [[40 * index, 0, 0] for index in range(5)])


def test_a_recording_and_a_folder_of_recordings_will_do(tmp_path: Path) -> None:
    """One file, or those below a folder."""
    (tmp_path / "below").mkdir()
    path = tmp_path / "below" / "camera.mp4"
    _recording(path, 30)
    for source in (path, tmp_path):
        frames = calibration_frames(source, FORM, 10)
        assert abs(frames[:, 0, 0, 0].astype(int) - 24 * np.arange(10)).max() < 12


def test_what_cannot_calibrate_is_named(tmp_path: Path) -> None:
    """An empty folder, too few frames, a damaged and an empty picture: one line each, with a remedy."""
    with pytest.raises(CalibrationError, match="holds no picture and no recording"):
        calibration_frames(tmp_path, FORM, 5)
    _pictures(tmp_path, 4)
    with pytest.raises(CalibrationError, match=r"holds 4 frames .*, 5 are needed; add some"):
        calibration_frames(tmp_path, FORM, 5)
    for content in (b"no picture", b""):
        (tmp_path / "000.png").write_bytes(content)
        with pytest.raises(CalibrationError, match=r"000\.png is no picture"):
            calibration_frames(tmp_path, FORM, 2)
