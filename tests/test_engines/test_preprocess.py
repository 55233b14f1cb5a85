from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.bundle.manifest import Input
from engines.preprocess import prepare


def form(height: int = 32, width: int = 32, resize: str = "area", crop: str = "squash") -> Input:
    """A network input of that size."""
    data = {"height": height, "width": width, "resize": resize, "crop": crop, "mean": (0, 0, 0), "std": (1, 1, 1)}
    return Input.model_validate(data)


def striped(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Black on the left third, grey in the middle, white on the right."""
    columns = np.repeat([0, 128, 255], -(-width // 3))[:width].astype(np.uint8)
    return np.broadcast_to(columns[None, :, None], (height, width, 3)).copy()


@pytest.mark.parametrize("resize", ["area", "bicubic", "bilinear"])
@pytest.mark.parametrize("crop", ["squash", "centre"])
@given(height=st.integers(1, 300), width=st.integers(1, 300), colour=st.integers(0, 255))
def test_any_frame_comes_out_at_the_networks_size(resize: str, crop: str, height: int, width: int, colour: int) -> None:
    """Every size gives the network's size, and a plain frame keeps its colour."""
    image = np.full((height, width, 3), colour, np.uint8)
    made = prepare(image, form(24, 40, resize, crop))
    assert made.shape == (24, 40, 3) and made.dtype == np.uint8 and made.flags.c_contiguous
    np.testing.assert_array_equal(made, colour)


def test_a_frame_of_the_right_size_is_not_touched() -> None:
    """Ingest publishes frames near the network's size; where they fit, no pixel changes."""
    image = striped(32, 32)
    assert prepare(image, form()) is image


def test_squash_keeps_all_of_the_picture() -> None:
    """Squashing changes the aspect ratio and loses nothing at the sides."""
    made = prepare(striped(48, 96), form())
    assert (made[0, 0, 0], made[0, 16, 0], made[0, -1, 0]) == (0, 128, 255)


def test_centre_keeps_the_middle() -> None:
    """A wide frame loses its sides, a tall one its top and bottom, neither is distorted."""
    np.testing.assert_array_equal(prepare(striped(32, 96), form(crop="centre")), 128)
    tall = np.ascontiguousarray(striped(32, 96).transpose(1, 0, 2))
    np.testing.assert_array_equal(prepare(tall, form(crop="centre")), 128)


def test_area_is_the_mean_of_the_pixels() -> None:
    """Shrinking twice by area averages blocks of four pixels."""
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    blocks = image.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(prepare(image, form()).astype(float) - blocks).max() <= 0.5


@pytest.mark.parametrize("resize", ["area", "bicubic", "bilinear"])
def test_no_filter_skips_pixels(resize: str) -> None:
    """A fine chequerboard shrinks to grey; a filter that skips pixels would leave black or white."""
    board = np.indices((320, 320)).sum(axis=0) % 2 * 255
    image = np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)
    assert np.abs(prepare(image, form(resize=resize)).astype(int) - 128).max() <= 2


def test_the_filters_differ() -> None:
    """The manifest's filter is the one that runs."""
    image = np.random.default_rng(0).integers(0, 256, (45, 45, 3), np.uint8)
    made = [prepare(image, form(resize=resize)) for resize in ("area", "bicubic", "bilinear")]
    assert not np.array_equal(made[0], made[1]) and not np.array_equal(made[1], made[2])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_frame_is_refused(image: npt.NDArray[np.uint8]) -> None:
    """Floats, grey pictures, alpha channels and empty pictures are programmers' errors."""
    with pytest.raises(ValueError, match="RGB uint8"):
        prepare(image, form())
