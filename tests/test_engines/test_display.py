"""How a stored picture is meant to be seen."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.display import Display, display_of

ONE = 1 << 16


def matrix(a: int, b: int, c: int, d: int) -> bytes:
    """A display matrix as FFmpeg gives it."""
    return struct.pack("=9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)


@given(st.sampled_from([(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (0, 1, 1, 0)]))
def test_a_picture_is_shown_where_the_matrix_puts_its_points(corner: tuple[int, int, int, int]) -> None:
    """Point (p, q) of the stored picture is at (a p + c q, b p + d q), moved to the corner."""
    a, b, c, d = corner
    stored = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    places = {(a * p + c * q, b * p + d * q): stored[q, p] for p in range(3) for q in range(2)}
    left, top = min(x for x, _ in places), min(y for _, y in places)
    shown = display_of(matrix(*(ONE * value for value in corner)), None).upright(stored)
    for (x, y), pixel in places.items():
        assert np.array_equal(shown[y - top, x - left], pixel)
    assert shown.flags.c_contiguous


def test_an_angle_between_two_is_the_nearest_turn() -> None:
    """80 degrees are a quarter turn, 10 degrees are none."""
    cosine, sine = int(np.cos(np.radians(80)) * ONE), int(np.sin(np.radians(80)) * ONE)
    assert display_of(matrix(cosine, sine, -sine, cosine), None) == Display(True, True, False)
    assert display_of(matrix(sine, cosine, -cosine, sine), None) == Display()


@pytest.mark.parametrize("data", [None, b"", b"\0" * 35, b"\0" * 36])
def test_what_says_nothing_changes_nothing(data: bytes | None) -> None:
    """No matrix, a short one, one of zeros; a ratio of zero or beyond reason."""
    for ratio in (None, 0.0, 1.0, 1e9, -2.0):
        assert display_of(data, ratio) == Display()


@pytest.mark.parametrize(("ratio", "size"), [(2.0, (704, 576)), (0.5, (352, 1152)), (16 / 11, (512, 576))])
def test_pixels_become_square_without_loss(ratio: float, size: tuple[int, int]) -> None:
    """The picture grows along one side."""
    assert display_of(None, ratio).size(352, 576) == size
