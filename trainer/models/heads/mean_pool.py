"""The mean over the window."""

from __future__ import annotations

from torch import Tensor, nn


class MeanPool(nn.Module):
    """The mean over the window; no parameters."""

    def forward(self, items: Tensor) -> Tensor:
        """[m, T, D] -> [m, D]."""
        return items.mean(dim=1)
