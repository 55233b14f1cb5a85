"""A recurrent layer over the window (ActionCLIP, LSTM)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


class Recurrent(nn.Module):
    """`LSTM(X) + X`, then the mean over the window: one layer, one direction, hidden width D.

    With `init="identity"` nothing is a candidate for the cell at the start: it stays empty, and the output is the mean.
    """

    def __init__(self, dimensions: int, init: Literal["paper", "identity"] = "paper"):
        super().__init__()
        self.lstm = nn.LSTM(dimensions, dimensions, batch_first=True)
        if init == "identity":
            with torch.no_grad():
                for parameter in self.lstm.parameters():
                    parameter[2 * dimensions : 3 * dimensions].zero_()  # torch's order: input, forget, cell, output

    def forward(self, items: Tensor) -> Tensor:
        """[m, T, D] -> [m, D]."""
        states: Tensor = self.lstm(items)[0]
        return (states + items).mean(dim=1)
