"""Which frames make a clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.clips import read_clip, segment_indices, window_start
from trainer.scenes.encode import encode_mp4


@pytest.mark.parametrize(
    ("length", "frames", "expected"),
    [(100, 8, [5, 18, 30, 43, 55, 68, 80, 93]), (5, 8, [0, 0, 1, 1, 2, 3, 3, 4]), (9, 1, [4]), (8, 8, list(range(8)))],
)
def test_test_rule_takes_the_middle_of_every_segment(length: int, frames: int, expected: list[int]) -> None:
    """The golden indices, counted from 0."""
    assert segment_indices(length, frames).tolist() == expected


@given(length=st.integers(1, 300), frames=st.integers(1, 32), seed=st.integers(0, 9))
def test_training_rule_takes_one_of_every_segment(length: int, frames: int, seed: int) -> None:
    """Indices are sorted, within the clip, one per segment, and every frame of a short clip is taken."""
    found = segment_indices(length, frames, np.random.default_rng(seed))
    assert len(found) == frames and (np.diff(found) >= 0).all() and found[0] >= 0 and found[-1] < length
    if length > frames:
        order = np.arange(frames)
        assert (found >= order * length // frames).all() and (found < (order + 1) * length // frames).all()
    else:
        assert set(found) == set(range(length))


def test_windows_are_centred_or_drawn() -> None:
    """Without a generator the middle; with one any start that fits; a clip that is too short is refused."""
    assert window_start(20, 8) == 6
    assert {window_start(10, 8, np.random.default_rng(seed)) for seed in range(40)} == {0, 1, 2}
    with pytest.raises(ValueError, match="holds no window"):
        window_start(7, 8)


def test_a_clip_is_sampled_on_its_tick_grid(tmp_path: Path) -> None:
    """At 10 frames/s and 4 ticks/s the first frame at or after each tick is yielded, once."""
    frames = (np.full((64, 64, 3), 10 * level, np.uint8) for level in range(20))
    encode_mp4(frames, tmp_path / "clip.mp4", 10, 400_000)
    seconds = [second for second, _ in read_clip(tmp_path / "clip.mp4", 4)]
    assert seconds == pytest.approx([0.0, 0.3, 0.5, 0.8, 1.0, 1.3, 1.5, 1.8], abs=1e-3)
