"""How much the items change over the window."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Change(nn.Module):
    """`c + W norm([mean |x_{t+s} - x_t| for s in spans])`: how restless each channel is, over several spans of time.

    One number per channel and span, whatever the direction and the moment of the change: what tells a scuffle from a
    stroll, and what no linear map of the items says. Each is brought to mean 0 and variance 1 over the training. c is
    learned and starts at length one; W starts at zero, so that untrained all windows are one.

    The items themselves are not added, as other heads do: what the place looks like would stand in the way of what
    happens there.
    """

    def __init__(self, dimensions: int, spans: Sequence[int]):
        super().__init__()
        self.spans = tuple(spans)
        self.norm = nn.BatchNorm1d(dimensions * len(self.spans), affine=False)
        self.map = nn.Linear(dimensions * len(self.spans), dimensions)
        nn.init.zeros_(self.map.weight)
        nn.init.normal_(self.map.bias, std=dimensions**-0.5)

    def forward(self, items: Tensor) -> Tensor:
        """[m, T, D] -> [m, D]."""
        changes = [(items[:, span:] - items[:, :-span]).abs().mean(dim=1) for span in self.spans]
        restless: Tensor = self.map(self.norm(torch.cat(changes, dim=-1)))
        return restless
