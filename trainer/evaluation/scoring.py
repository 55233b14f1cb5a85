"""From embeddings to the shares of labels: the two ways to read several templates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def per_template(embeddings: Tensor, bank: Tensor, scale: float | Tensor) -> Tensor:
    """Shares [n, C] by ActionCLIP's rule: a softmax over the labels for each template, averaged over the templates.

    embeddings [n, D] and bank [P, C, D] of length one; scale: what cosines are multiplied with.
    """
    return (scale * embeddings @ bank.mT).softmax(dim=-1).mean(dim=0)


def averaged(embeddings: Tensor, bank: Tensor, scale: float | Tensor) -> Tensor:
    """Shares [n, C] by one embedding per label: the sum of its templates' at length one. One product in place of P."""
    return (scale * embeddings @ F.normalize(bank.sum(dim=0), dim=-1).t()).softmax(dim=-1)


def agreement(one: Tensor, other: Tensor) -> float:
    """The share of rows [n, C] in which two ways choose the same label."""
    return float(torch.mean((one.argmax(dim=-1) == other.argmax(dim=-1)).float()))
