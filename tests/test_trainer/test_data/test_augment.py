"""What training does to pictures before a tower sees them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.augment import augment
from trainer.recipe import Augment

UNCHANGED = Augment(flip=0, shift=0, zoom=0, fade=0, gain=0, offset=0, noise=0, jpeg=0, stutter=0)
EVERYTHING = Augment(flip=0.5, shift=0.06, zoom=0.1, fade=0.5, gain=0.2, offset=10, noise=4, jpeg=0.5, stutter=0.5)
SEEDS = st.integers(0, 2**32 - 1)


def halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> np.ndarray:
    """One picture of two colours, uint8 [1, 32, 32, 3]."""
    picture = np.empty((1, 32, 32, 3), np.uint8)
    picture[:, :, :16], picture[:, :, 16:] = left, right
    return picture


def difference(picture: np.ndarray) -> np.ndarray:
    """Right half less left half, [3]."""
    return picture[0, 16, 24].astype(float) - picture[0, 16, 8]


def with_rules(**changes: float) -> Augment:
    """No change but these."""
    return UNCHANGED.model_copy(update=changes)


@given(SEEDS)
def test_without_rules_pictures_stay_as_they_are(seed: int) -> None:
    """Every change can be switched off."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (3, 24, 32, 3), np.uint8)
    assert np.array_equal(augment(pictures, UNCHANGED, rng), pictures)


@given(SEEDS)
def test_the_same_draw_gives_the_same_pictures_and_leaves_the_given_ones_alone(seed: int) -> None:
    """The seed decides everything; footage that is mapped from a file must not be written to."""
    given_ones = np.random.default_rng(seed).integers(0, 256, (4, 24, 32, 3), np.uint8)
    kept = given_ones.copy()
    first, second = (augment(given_ones, EVERYTHING, np.random.default_rng(seed)) for _ in range(2))
    assert first.shape == kept.shape and first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert np.array_equal(given_ones, kept)


@given(SEEDS)
def test_what_is_drawn_holds_for_the_whole_stretch(seed: int) -> None:
    """A camera does not change its colours or its place from frame to frame. Noise is fresh in each."""
    still = np.repeat(np.random.default_rng(seed).integers(0, 256, (1, 24, 32, 3), np.uint8), 5, axis=0)
    changed = augment(still, EVERYTHING.model_copy(update={"noise": 0.0}), np.random.default_rng(seed))
    assert all(np.array_equal(picture, changed[0]) for picture in changed)


@given(SEEDS)
def test_a_fade_takes_at_most_its_share_of_a_difference_and_adds_none(seed: int) -> None:
    """Half of black and white stays with a fade of 0.5, or more."""
    before = halves((40, 40, 40), (200, 200, 200))
    kept = difference(augment(before, with_rules(fade=0.5), np.random.default_rng(seed))) / difference(before)
    assert np.all(kept >= 0.5 - 0.01) and np.all(kept <= 1.0 + 0.01)


@given(SEEDS)
def test_a_fade_gives_grey_no_colour(seed: int) -> None:
    """A white shirt stays white: captions name colours."""
    changed = augment(halves((30, 30, 30), (220, 220, 220)), with_rules(fade=0.8), np.random.default_rng(seed))
    assert int(np.ptp(changed.astype(int), axis=-1).max()) <= 1


def test_lightness_and_colour_fade_apart() -> None:
    """Clothes that differ from a wall in one of them only come to be hardly seen, each kind in other stretches."""
    light, coloured = halves((90, 90, 90), (150, 150, 150)), halves((160, 120, 80), (80, 120, 160))
    kept = np.array(
        [
            [
                np.linalg.norm(difference(augment(one, with_rules(fade=0.9), np.random.default_rng(seed))))
                / np.linalg.norm(difference(one))
                for one in (light, coloured)
            ]
            for seed in range(200)
        ]
    )
    faint = kept < 0.3
    assert (faint[:, 0] & ~faint[:, 1]).any() and (~faint[:, 0] & faint[:, 1]).any()
    assert abs(np.corrcoef(kept.T)[0, 1]) < 0.3


@given(SEEDS)
def test_a_fade_keeps_the_mean_colour(seed: int) -> None:
    """Differences fade towards the mean of the picture, not towards some grey that is never seen."""
    before = halves((200, 60, 30), (20, 140, 90))
    changed = augment(before, with_rules(fade=0.7), np.random.default_rng(seed))
    assert np.abs(changed.mean(axis=(0, 1, 2)) - before.mean(axis=(0, 1, 2))).max() <= 1.0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_the_stretches_is_flipped(share: float) -> None:
    """Left and right, all of it."""
    before = halves((10, 20, 30), (200, 150, 100))
    flipped = [
        np.array_equal(augment(before, with_rules(flip=share), np.random.default_rng(seed)), before[:, :, ::-1])
        for seed in range(20)
    ]
    assert all(flipped) if share else not any(flipped)


@given(SEEDS)
def test_a_held_frame_is_the_one_before_once_more(seed: int) -> None:
    """
    source   0 1 2 3 4 5 6 7
    shown    0 1 1 3 4 4 6 7
    """
    source = np.repeat(np.arange(8, dtype=np.uint8) * 20, 16 * 16 * 3).reshape(8, 16, 16, 3)
    shown = augment(source, with_rules(stutter=1.0), np.random.default_rng(seed))[:, 0, 0, 0] // 20
    assert shown[0] == 0
    assert all(now in (index, before) for index, (now, before) in enumerate(zip(shown[1:], shown, strict=False), 1))
