"""A recurrent layer over the window (ActionCLIP, LSTM)."""

from __future__ import annotations

from torch import Tensor, nn


class Recurrent(nn.Module):
    """`LSTM(X) + X`, then the mean over the window: one layer, one direction, hidden width D."""

    def __init__(self, dimensions: int):
        super().__init__()
        self.lstm = nn.LSTM(dimensions, dimensions, batch_first=True)

    def forward(self, items: Tensor) -> Tensor:
        """[m, T, D] -> [m, D]."""
        states: Tensor = self.lstm(items)[0]
        return (states + items).mean(dim=1)
