"""A convolution over time (ActionCLIP, Conv1D)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


class TemporalConvolution(nn.Module):
    """`conv(X) + X`, then the mean over the window.

    One kernel of three taps per channel, no bias. It starts as a shift: the first quarter of the channels takes the
    item before, the last quarter the item after, the others their own (ActionCLIP release; its reshape, which mixes
    channels with time, is not repeated). With `init="identity"` every channel takes its own item, so that the output is
    2X before the mean: the direction of MeanP.
    """

    def __init__(self, dimensions: int, init: Literal["paper", "identity"] = "paper"):
        super().__init__()
        self.shift = nn.Conv1d(dimensions, dimensions, kernel_size=3, padding=1, groups=dimensions, bias=False)
        quarter = dimensions // 4 if init == "paper" else 0
        with torch.no_grad():
            self.shift.weight.zero_()
            self.shift.weight[:quarter, 0, 0] = 1.0
            self.shift.weight[quarter : dimensions - quarter, 0, 1] = 1.0
            self.shift.weight[dimensions - quarter :, 0, 2] = 1.0

    def forward(self, items: Tensor) -> Tensor:
        """[m, T, D] -> [m, D]."""
        moved: Tensor = self.shift(items.transpose(1, 2)).transpose(1, 2)
        return (moved + items).mean(dim=1)
