"""The classes of training as prototypes: what stands for everything else where a window is held against examples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_KEPT = 0.95
"""Of what was gathered of a class, at each episode that shows it."""


class KnownClasses(nn.Module):
    """The mean window of each class that training shows, gathered from episodes."""

    weights: Tensor
    items: Tensor

    def __init__(self, labels: int, frames: int, dimensions: int):
        super().__init__()
        self.register_buffer("weights", torch.zeros(labels))
        self.register_buffer("items", torch.zeros(labels, frames, dimensions))

    @torch.no_grad()
    def gather(self, labels: Tensor, clips: Tensor) -> None:
        """Count an episode: the labels [n] of its classes, by index, and their clips [n, K, T, D]."""
        self.weights[labels] = _KEPT * self.weights[labels] + (1 - _KEPT)
        self.items[labels] = _KEPT * self.items[labels] + (1 - _KEPT) * clips.mean(dim=1)

    def means(self) -> tuple[list[int], Tensor]:
        """The labels that were shown, by index, and their mean windows [n, T, D]."""
        shown = torch.nonzero(self.weights > 0).flatten()
        return shown.tolist(), self.items[shown] / self.weights[shown].view(-1, 1, 1)
