"""From a video file to pictures at a rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.data.decode import read_clip
from trainer.scenes.picture.encode import encode_mp4


def test_a_clip_is_sampled_on_its_tick_grid(tmp_path: Path) -> None:
    """At 10 frames/s and 4 ticks/s the first frame at or after each tick is yielded, once."""
    frames = (np.full((64, 64, 3), 10 * level, np.uint8) for level in range(20))
    encode_mp4(frames, tmp_path / "clip.mp4", 10, 400_000)
    seconds = [second for second, _ in read_clip(tmp_path / "clip.mp4", 4)]
    assert seconds == pytest.approx([0.0, 0.3, 0.5, 0.8, 1.0, 1.3, 1.5, 1.8], abs=1e-3)
