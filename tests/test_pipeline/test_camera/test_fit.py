"""Frames at the size that a bundle takes, or that people want."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.preprocess import prepare
from pipeline.camera.fit import Fit, cover_of, fit_frame
from pipeline.camera.sampling import SampledFrame
from pipeline.records.label_report import Crop, PictureForm


def sampled(width: int, height: int) -> SampledFrame:
    """A frame of noise."""
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    return SampledFrame("door", 1, 0, 4, 4, 0, "arrival", image)


def form(crop: Crop, width: int = 128, height: int = 96) -> PictureForm:
    """A network of that input."""
    return PictureForm(width, height, "area", crop)


@pytest.mark.parametrize(
    ("fit", "size", "scene"),
    [
        (None, (455, 256), None),
        (form("squash"), (128, 96), (455, 256)),
        (form("centre"), (128, 96), None),
        (form("squash", 455, 256), (455, 256), None),
        (form("squash", 384, 384), (455, 256), None),
        ((171, 96), (171, 96), None),
        ((224, 224), (398, 224), None),
        ((640, 360), (455, 256), None),
    ],
)
def test_a_frame_becomes_what_is_wanted_and_never_larger(
    fit: Fit, size: tuple[int, int], scene: tuple[int, int] | None
) -> None:
    """A bundle gets exactly its size; people get the smallest frame of the same shape that covers theirs."""
    record = fit_frame(sampled(455, 256), fit).record(b"jpeg")

    assert (record.width, record.height, record.scene) == (*size, scene)


@pytest.mark.parametrize("crop", ["squash", "centre"])
def test_a_worker_gets_the_pixels_that_it_would_have_made_itself(crop: Crop) -> None:
    """Where frames are scaled decides nothing but how much travels."""
    frame, wanted = sampled(455, 256), form(crop)

    np.testing.assert_array_equal(prepare(fit_frame(frame, wanted).image, wanted), prepare(frame.image, wanted))


def test_another_bundle_sees_the_scene_in_its_shape() -> None:
    """After a swap frames that were squashed for one bundle reach one that takes the centre: it crops the scene.

    scene     black | grey 128 x 128 | black        squashed to 64 x 64, the middle is 32 wide
    """
    image: NDArray[np.uint8] = np.zeros((128, 256, 3), np.uint8)
    image[:, 64:192] = 128
    frame = SampledFrame("door", 1, 0, 4, 4, 0, "arrival", image)

    squashed = fit_frame(frame, form("squash", 64, 64))
    record = squashed.record(b"jpeg")

    assert record.pixel == 2.0
    np.testing.assert_array_equal(prepare(squashed.image, form("centre", 16, 16), record.pixel), 128)


def test_a_size_is_two_numbers() -> None:
    """`auto` and `off` name none."""
    assert [cover_of(one) for one in ("224x160", "auto", "off")] == [(224, 160), None, None]
