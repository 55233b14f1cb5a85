"""A transformer that is read at a class token (ActionCLIP, Transf_cls)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_SPREAD = 0.02


class ClassToken(nn.Module):
    """Post-norm encoder layers over [CLS, X] with learned positions; the normalised state of CLS, no residual to X.

    Eight attention heads, feed-forward width 2048, ReLU, dropout 0.1 (ActionCLIP release).
    """

    def __init__(self, dimensions: int, frames: int, layers: int):
        super().__init__()
        self.token = nn.Parameter(torch.empty(1, 1, dimensions))
        self.positions = nn.Parameter(torch.empty(1, frames + 1, dimensions))
        # Layers in a row, because torch's own encoder takes a fast path in evaluation that no exporter knows.
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(dimensions, nhead=8, batch_first=True) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dimensions)
        for module in (self.token, self.positions):
            nn.init.trunc_normal_(module, std=_SPREAD, a=-2 * _SPREAD, b=2 * _SPREAD)
        for part in self.layers.modules():
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=_SPREAD, a=-2 * _SPREAD, b=2 * _SPREAD)
                nn.init.zeros_(part.bias)

    def forward(self, items: Tensor) -> Tensor:
        """[m, T, D] -> [m, D]."""
        states = torch.cat((self.token.expand(items.shape[0], -1, -1), items), dim=1) + self.positions
        for layer in self.layers:
            states = layer(states)
        embedding: Tensor = self.norm(states[:, 0])
        return embedding
