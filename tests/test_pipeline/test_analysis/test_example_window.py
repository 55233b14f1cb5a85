"""Which pictures of an example make a window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.example_window import window_of


@pytest.mark.parametrize(
    ("ticks", "multiple", "frames", "chosen"),
    [
        (range(9), 2, 3, [2, 4, 6]),  # a b c d e f g h i    the middle, at half the rate
        (range(4), 1, 4, [0, 1, 2, 3]),
        (range(3), 1, 5, [0, 1, 2, 2, 2]),  # shorter than the window: the last picture is held
        ([0, 1, 5, 6], 1, 7, [0, 1, 1, 1, 1, 2, 3]),  # ticks without a picture: the one before is held
        ([0], 1, 2, [0, 0]),
    ],
)
def test_the_middle_counts_and_the_last_picture_is_held(
    ticks: list[int], multiple: int, frames: int, chosen: list[int]
) -> None:
    """Time is never stretched."""
    assert window_of(list(ticks), multiple, frames) == chosen


@given(st.sets(st.integers(1, 60)), st.integers(1, 4), st.integers(1, 16))
def test_a_window_goes_forward_and_has_the_length_that_it_must(later: set[int], multiple: int, frames: int) -> None:
    """Whatever ticks are missing."""
    ticks = [0, *sorted(later)]
    chosen = window_of(ticks, multiple, frames)
    assert len(chosen) == frames and chosen == sorted(chosen) and chosen[0] >= 0 and chosen[-1] < len(ticks)


def test_a_model_with_memory_sees_what_came_before_the_window() -> None:
    """As far as the example has it: two items before the middle four of eight, none before a short example."""
    assert window_of(range(8), 1, 4, history=2) == [0, 1, 2, 3, 4, 5]
    assert window_of(range(8), 1, 4, history=9) == [0, 1, 2, 3, 4, 5]
    assert window_of(range(3), 1, 4, history=2) == [0, 1, 2, 2]
