"""Whitening of frames and motion: what is gathered, the map that follows, and what it is for."""

from __future__ import annotations

import numpy as np
import torch

from trainer.models.few_shot.comparison import frame_wise_distances
from trainer.models.few_shot.whitening import Whitening

DRAW = torch.Generator().manual_seed(0)


def test_one_episode_is_its_covariance_within_classes() -> None:
    """Written a second time in numpy: clips around the mean of their class, place by place; unbiased for few clips."""
    clips = torch.randn(3, 4, 5, 6, generator=DRAW)
    whitening = Whitening(6, shrinkage=0.5)
    whitening.gather(clips)
    for part, steps in enumerate((clips.numpy(), np.diff(clips.numpy(), axis=2))):
        apart = (steps - steps.mean(axis=1, keepdims=True)).reshape(-1, 6)
        expected = apart.T @ apart / (3 * 3 * steps.shape[2])
        found = (whitening.covariances[part] / whitening.weight).numpy()
        assert np.allclose(found, expected, atol=1e-5)
        assert np.allclose((whitening.means[part] / whitening.weight).numpy(), steps.mean(axis=(0, 1, 2)), atol=1e-5)


def test_golden_map_is_the_inverse_root() -> None:
    """By another road: map * (covariance / its mean variance + shrinkage) * map is one; the map is symmetric."""
    whitening = Whitening(6, shrinkage=0.3)
    for _ in range(5):
        whitening.gather(torch.randn(3, 4, 5, 6, generator=DRAW) * torch.arange(1.0, 7.0))
    fitted = whitening.fitted()
    for part in range(2):
        covariance = (whitening.covariances[part] / whitening.weight).double().numpy()
        scaled = covariance / (np.trace(covariance) / 6) + 0.3 * np.eye(6)
        found = fitted.maps[part].double().numpy()
        assert np.allclose(found @ scaled @ found, np.eye(6), atol=1e-4) and np.allclose(found, found.T, atol=1e-6)


def test_a_window_becomes_its_frames_and_what_moves_between_them() -> None:
    """2T - 1 vectors; before anything was gathered they are frames and differences in their own directions."""
    window = torch.randn(2, 5, 6, generator=DRAW)
    found = Whitening(6, shrinkage=1.0).fitted()(window)
    expected = torch.cat((window, window.diff(dim=1)), dim=1)
    assert found.shape == (2, 9, 6)
    assert torch.allclose(found / found.norm(dim=-1, keepdim=True), expected / expected.norm(dim=-1, keepdim=True))


def test_what_differs_between_clips_of_one_class_stops_counting() -> None:
    """Two classes differ in one direction, beside a scene ten times as loud: plain cosines guess, whitened ones know.

    The map comes from two other classes.
    """

    def clips(sign: float, count: int) -> torch.Tensor:
        scenes = 10 * torch.randn(count, 1, 8, generator=DRAW)
        scenes[..., 0] = sign
        return scenes + 0.1 * torch.randn(count, 4, 8, generator=DRAW)

    whitening = Whitening(8, shrinkage=0.001)
    for _ in range(60):
        whitening.gather(torch.stack((clips(2.0, 6), clips(-2.0, 6))))
    fitted = whitening.fitted()
    one, other = clips(1.0, 200), clips(-1.0, 200)
    examples = torch.stack((clips(1.0, 5).mean(dim=0), clips(-1.0, 5).mean(dim=0)))

    def right(change: torch.nn.Module) -> float:
        found = [frame_wise_distances(change(part), change(examples)).argmin(dim=-1) for part in (one, other)]
        return float((found[0] == 0).float().mean() + (found[1] == 1).float().mean()) / 2

    assert right(torch.nn.Identity()) < 0.75 and right(fitted) > 0.95


def test_a_window_of_one_frame_has_no_motion() -> None:
    """One vector comes out, and gathering does not fail."""
    whitening = Whitening(6, shrinkage=1.0)
    whitening.gather(torch.randn(2, 3, 1, 6, generator=DRAW))
    found = whitening.fitted()(torch.randn(2, 1, 6, generator=DRAW))
    assert found.shape == (2, 1, 6) and bool(torch.isfinite(found).all())
