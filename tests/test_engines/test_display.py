"""How a stored picture is meant to be seen."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from hypothesis import given
from hypothesis import strategies as st

from engines.display import STORED, Turn, shown, shown_size, turn_by, turn_of

CORNERS = np.array([["red", "green"], ["blue", "grey"]])


@pytest.mark.parametrize(
    ("matrix", "turn", "seen"),
    [
        ((1, 0, 0, 1), Turn(), "red green blue grey"),
        ((0, 1, -1, 0), Turn(True, left_right=True), "blue red grey green"),
        ((0, -1, 1, 0), Turn(True, up_down=True), "green grey red blue"),
        ((-1, 0, 0, -1), Turn(False, True, True), "grey blue green red"),
        ((-1, 0, 0, 1), Turn(False, True, False), "green red grey blue"),
        ((1, 0, 0, -1), Turn(False, False, True), "blue grey red green"),
        ((0, 1, 1, 0), Turn(True), "red blue green grey"),
        ((0, -1, -1, 0), Turn(True, True, True), "grey green blue red"),
        ((65000, 8000, -8000, 65000), Turn(), "red green blue grey"),
        ((0, 0, 0, 0), Turn(), "red green blue grey"),
    ],
)
def test_every_display_matrix_is_followed(matrix: tuple[int, ...], turn: Turn, seen: str) -> None:
    """Quarter turns, mirrored or not; a few degrees between them are left as they are, and zeros say nothing.

    stored  red  green      turned by 90 degrees clockwise   blue red
            blue grey                                        grey green
    """
    names, numbers = np.unique(CORNERS, return_inverse=True)
    assert turn_by(matrix) == turn
    assert " ".join(names[turn.apply(numbers.reshape(2, 2).astype(np.uint8)).ravel()]) == seen


@given(st.sampled_from([(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (0, 1, 1, 0)]))
def test_a_picture_is_shown_where_the_matrix_puts_its_points(corner: tuple[int, int, int, int]) -> None:
    """Point (p, q) of the stored picture is at (a p + c q, b p + d q), moved to the corner."""
    a, b, c, d = corner
    stored = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    places = {(a * p + c * q, b * p + d * q): stored[q, p] for p in range(3) for q in range(2)}
    left, top = min(x for x, _ in places), min(y for _, y in places)
    seen = turn_by(corner).apply(stored)
    for (x, y), pixel in places.items():
        assert np.array_equal(seen[y - top, x - left], pixel)
    assert seen.flags.c_contiguous


@pytest.mark.parametrize(
    ("stored", "ratio", "turn", "seen"),
    [
        ((352, 576), Fraction(2), Turn(), (704, 576)),
        ((704, 288), Fraction(1, 2), Turn(), (704, 576)),
        ((720, 576), Fraction(16, 15), Turn(), (768, 576)),
        ((720, 480), Fraction(8, 9), Turn(), (720, 540)),
        ((352, 576), Fraction(2), Turn(True), (576, 704)),
        ((320, 240), None, Turn(), (320, 240)),
        ((320, 240), Fraction(0), Turn(), (320, 240)),
        ((320, 240), Fraction(-2), Turn(), (320, 240)),
        ((320, 240), Fraction(500), Turn(), (320, 240)),
    ],
)
def test_pixels_that_are_not_square_keep_the_shape_of_the_scene(
    stored: tuple[int, int], ratio: Fraction | None, turn: Turn, seen: tuple[int, int]
) -> None:
    """The narrower side of a pixel is stretched, before a turn; a ratio of nothing, or beyond reason, is none."""
    assert shown_size(*stored, ratio, turn) == seen


@pytest.mark.parametrize("form", ["yuv420p", "yuv444p", "gray"])
def test_a_turned_frame_is_scaled_as_one_that_was_stored_upright(form: str) -> None:
    """The filter treats rows and columns differently, so that the turn comes first."""
    smooth = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(np.stack([smooth] * 3, axis=2), format="rgb24").reformat(format=form)
    upside_down = Turn(left_right=True, up_down=True)
    turned = av.VideoFrame.from_ndarray(
        np.ascontiguousarray(np.stack([smooth[::-1, ::-1]] * 3, axis=2)), format="rgb24"
    )
    seen = shown(turned.reformat(format=form), upside_down, 23, 17, VideoReformatter())
    expected = shown(frame, STORED, 23, 17, VideoReformatter())
    assert seen.shape == (17, 23, 3)
    assert np.abs(seen.astype(int) - expected).max() <= 1
    assert turn_of(frame) == STORED
