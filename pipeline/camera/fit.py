"""Frames at the size that somebody wants of them: what a bundle takes, or a size for people who look at them."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from engines.preprocess import Form, covering, fitted
from pipeline.camera.sampling import SampledFrame

Fit: TypeAlias = Form | tuple[int, int] | None
"""What a network takes; or (width, height) that a frame is to cover, its shape kept; None: as it was sampled."""


def fit_frame(frame: SampledFrame, fit: Fit) -> SampledFrame:
    """The frame, scaled down to fit; never enlarged.

    One that a network takes squashed says what shape it had: another network, or a person, may want it back.
    """
    if fit is None:
        return frame
    if isinstance(fit, tuple):
        return replace(frame, image=covering(frame.image, *fit))
    image = fitted(frame.image, fit)
    height, width = frame.image.shape[:2]
    squashed = fit.crop == "squash" and image.shape[1] * height != image.shape[0] * width
    return replace(frame, image=image, scene=(width, height) if squashed else None)


def cover_of(fit: str) -> tuple[int, int] | None:
    """(width, height) of a setting `WxH`; None for `auto` and `off`."""
    width, by, height = fit.partition("x")
    return (int(width), int(height)) if by else None
