"""ActionCLIP's changes of the pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.published import _OPERATIONS, apply, change
from trainer.recipe import Augment, Published

STILL = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8), 4, axis=0)
"""One picture four times: whatever is drawn once per clip leaves four equal pictures."""


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), magnitude=st.integers(0, 30))
def test_everything_is_drawn_once_per_clip(seed: int, magnitude: int) -> None:
    """Equal pictures stay equal, in size and type too; the same seed gives the same clip."""
    rules = Published(magnitude=magnitude)
    shown = apply(STILL, rules, np.random.default_rng(seed))
    assert shown.shape == STILL.shape and shown.dtype == np.uint8
    assert all(np.array_equal(picture, shown[0]) for picture in shown)
    assert np.array_equal(shown, apply(STILL, rules, np.random.default_rng(seed)))


def test_switched_off_it_changes_nothing() -> None:
    """No operations, the whole picture, no flip, no colours."""
    rules = Published(operations=0, scales=(1.0,), flip=0, jitter=0, grey=0)
    assert np.array_equal(apply(STILL, rules, np.random.default_rng(1)), STILL)
    flipped = rules.model_copy(update={"flip": 1.0})
    assert np.array_equal(change(STILL, flipped, np.random.default_rng(1)), STILL[:, :, ::-1])
    grey = apply(STILL, rules.model_copy(update={"grey": 1.0}), np.random.default_rng(1))
    assert np.array_equal(grey[..., 0], grey[..., 1]) and np.array_equal(grey[..., 0], grey[..., 2])


@pytest.mark.parametrize("number", range(1, len(_OPERATIONS)))
def test_every_operation_changes_a_picture(number: int) -> None:
    """But for identity, each of RandAugment's fourteen at strength 0.9 gives another picture."""
    import torch

    frames = torch.from_numpy(STILL[:1] // 2 + 40).permute(0, 3, 1, 2).contiguous()
    assert len(_OPERATIONS) == 14
    assert not torch.equal(_OPERATIONS[number](frames, 0.9), frames)


def test_the_rules_of_a_camera_are_the_other_kind() -> None:
    """`change` takes whichever a recipe names."""
    rules = Augment(flip=1.0, shift=0, zoom=0, fade=0, gain=0, offset=0, noise=0, jpeg=0, stutter=0)
    shown = change(STILL, rules, np.random.default_rng(1)).astype(int)
    assert np.abs(shown - STILL[:, :, ::-1]).max() <= 1
