"""Which frames make a clip."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.sampling import segment_indices, window_indices, window_start


@pytest.mark.parametrize(
    ("length", "frames", "expected"),
    [(100, 8, [5, 18, 30, 43, 55, 68, 80, 93]), (5, 8, [0, 0, 1, 1, 2, 3, 3, 4]), (9, 1, [4]), (8, 8, list(range(8)))],
)
def test_golden_test_rule_takes_the_middle_of_every_segment(length: int, frames: int, expected: list[int]) -> None:
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


@given(
    edges=st.tuples(*[st.integers(0, 40)] * 4).map(sorted).filter(lambda edges: edges[1] < edges[2]),
    frames=st.integers(1, 24),
    seed=st.none() | st.integers(0, 9),
)
def test_a_window_never_stretches_time(edges: list[int], frames: int, seed: int | None) -> None:
    """Steps are 1, then 0 where the last frame is held and nothing else may be shown; a short clip is there whole.

    may be shown  |lowest     highest|
    clip             |first last|
    """
    lowest, first, last, highest = edges
    rng = None if seed is None else np.random.default_rng(seed)
    shown = window_indices(first, last, lowest, highest, frames, rng)
    steps = np.diff(shown)
    assert len(shown) == frames and shown[0] >= lowest and shown[-1] < highest
    assert set(steps) <= {0, 1} and (np.diff(steps) <= 0).all()
    assert (0 in steps) == (highest - lowest < frames and frames > 1)
    if last - first >= frames:
        assert shown[0] >= first and shown[-1] < last
    else:
        assert shown[0] <= first and shown[-1] >= last - 1
