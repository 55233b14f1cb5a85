"""Temporal heads: windows of frame embeddings, float32 [m, T, D], to one embedding each, [m, D], not normalised.

ActionCLIP's post-network prompts (section 3.3). Heads are built from D; a head has D/64 attention heads.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from trainer.errors import RecipeError
from trainer.models.heads.mean_pool import MeanP
from trainer.models.heads.transformer import Transf


def build(
    architecture: str, dimensions: int, frames: int, layers: int, init: Literal["paper", "identity"]
) -> nn.Module:
    """The head that a recipe names."""
    if architecture == "meanp":
        return MeanP()
    if architecture == "transf":
        return Transf(dimensions, frames, layers, init)
    raise RecipeError(f"no head is called {architecture!r}; choose meanp or transf")
