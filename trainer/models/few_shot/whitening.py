"""Frames and motion whitened by what clips of one class differ in, so that what tells classes apart counts.

The tower of a classifier spends most of its variance on who acts and where. A covariance of clips around the mean of
their class holds just that; its inverse root weighs a direction the less, the more clips of one class differ in it.
Motion, the differences of frames that follow each other, is whitened by its own covariance and stands behind the
frames: a window of T items becomes 2T - 1 vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_KEPT = 0.99
"""Of what was gathered, at each episode: about the last hundred count, while what they are made of still learns."""


class Whitening(nn.Module):
    """Mean and covariance within classes of frames and of their differences, gathered from episodes of training."""

    weight: Tensor
    means: Tensor
    covariances: Tensor

    def __init__(self, dimensions: int, shrinkage: float):
        super().__init__()
        self.shrinkage = shrinkage
        self.register_buffer("weight", torch.zeros(()))
        self.register_buffer("means", torch.zeros(2, dimensions))
        self.register_buffer("covariances", torch.zeros(2, dimensions, dimensions))

    @torch.no_grad()
    def gather(self, clips: Tensor) -> None:
        """Count an episode: clips [n, K, T, D] of n classes, K >= 2 of each."""
        count = clips.shape[1]
        self.weight.lerp_(torch.ones_like(self.weight), 1 - _KEPT)
        for part, steps in enumerate((clips, clips.diff(dim=-2))):
            apart = (steps - steps.mean(dim=1, keepdim=True)).flatten(0, -2)
            # Around a mean of K clips of their own they spread less than around that of the class.
            covariance = apart.mT @ apart / max(len(apart), 1) * (count / (count - 1))
            self.means[part].lerp_(steps.flatten(0, -2).mean(dim=0) if len(apart) else self.means[part], 1 - _KEPT)
            self.covariances[part].lerp_(covariance, 1 - _KEPT)

    def fitted(self) -> Whitened:
        """The map that follows from what was gathered; before the first episode it passes directions on."""
        width = self.means.shape[-1]
        total = self.weight.double().clamp(min=1e-12)
        covariances = self.covariances.double() / total
        level = covariances.diagonal(dim1=-2, dim2=-1).mean(dim=-1).view(-1, 1, 1)
        level = torch.where(level > 0, level, torch.ones_like(level))
        eye = torch.eye(width, dtype=torch.float64, device=covariances.device)
        values, vectors = torch.linalg.eigh(covariances / level + self.shrinkage * eye)
        maps = vectors * values.clamp(min=1e-12).rsqrt().unsqueeze(-2) @ vectors.mT
        return Whitened((self.means.double() / total).float(), maps.float())


class Whitened(nn.Module):
    """Items to whitened frames and motion. The map is symmetric, so directions keep their meaning."""

    means: Tensor
    maps: Tensor

    def __init__(self, means: Tensor, maps: Tensor):
        """`means` [2, D] and `maps` [2, D, D]: of frames, and of their differences."""
        super().__init__()
        self.register_buffer("means", means)
        self.register_buffer("maps", maps)

    def forward(self, items: Tensor) -> Tensor:
        """Windows [..., T, D], not normalised, to [..., 2T - 1, D]: the frames, then what moved between them."""
        frames = (items - self.means[0]) @ self.maps[0]
        motion = (items[..., 1:, :] - items[..., :-1, :] - self.means[1]) @ self.maps[1]
        return torch.cat((frames, motion), dim=-2)
