"""All items of the window side by side through one linear map."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Concatenation(nn.Module):
    """`mean(X) + W [x_1, ..., x_T]`: every place in the window has a map of its own, without a bias.

    W starts at zero, so that the output is MeanP's, and what the order says is learned on top: the direction that a
    linear classifier over the frames in order takes, which few clips can teach.
    """

    def __init__(self, dimensions: int, frames: int):
        super().__init__()
        self.map = nn.Linear(dimensions * frames, dimensions, bias=False)
        nn.init.zeros_(self.map.weight)

    def forward(self, items: Tensor) -> Tensor:
        """[m, T, D] -> [m, D]."""
        ordered: Tensor = self.map(items.flatten(1))
        return torch.mean(items, dim=1) + ordered
