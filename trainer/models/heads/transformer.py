"""A transformer over the window (ActionCLIP, Transf)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from open_clip.transformer import QuickGELU, ResidualAttentionBlock
from torch import Tensor, nn


class TemporalTransformer(nn.Module):
    """`TE(X + positions) + X`, then the mean over the window.

    Pre-norm blocks with an MLP of 4D and QuickGELU, no dropout, no final norm, no mask. With `init="identity"` the
    positions and the last linear map of every branch are zero, so that the output is 2X: the direction of MeanP.
    """

    def __init__(self, dimensions: int, frames: int, layers: int, init: Literal["paper", "identity"]):
        super().__init__()
        self.positions = nn.Parameter(torch.empty(frames, dimensions))
        self.blocks = nn.ModuleList(
            ResidualAttentionBlock(
                dimensions, dimensions // 64, act_layer=QuickGELU, norm_layer=lambda width: nn.LayerNorm(width, 1e-12)
            )
            for _ in range(layers)
        )
        self._initialise(init)

    def _initialise(self, init: str) -> None:
        nn.init.normal_(self.positions, std=0.02)
        for module in self.blocks.modules():
            # The attention's in-projection keeps its Xavier-uniform start.
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        if init == "identity":
            nn.init.zeros_(self.positions)
            blocks: list[Any] = list(self.blocks)
            for block in blocks:
                nn.init.zeros_(block.attn.out_proj.weight)
                nn.init.zeros_(block.mlp.c_proj.weight)

    def forward(self, items: Tensor) -> Tensor:
        """[m, T, D] -> [m, D]."""
        states = items + self.positions
        for block in self.blocks:
            states = block(states)
        return (states + items).mean(dim=1)
