"""CLIP-FSAR's prototype modulation: a transformer over the frames of a clip, and the text of its class where known."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Modulation(nn.Module):
    """One network for queries and supports, which differ only in the token of the class that supports bring along.

    Blocks of attention without biases in queries, keys and values, pre-norm, and an MLP that has no norm before it; no
    positions. The residual is taken from what came in, not from what was normalised (models.md section 8.2 in words:
    CLIP-FSAR's release). With `init="identity"` the last map of every branch is zero: frames come out as they went in.
    """

    def __init__(self, dimensions: int, layers: int, heads: int, hidden: int, smoothing: float, init: str):
        super().__init__()
        self.smoothing = smoothing
        """Lambda of the alignment that compares what comes out."""
        blocks = [_Block(dimensions, heads, hidden) for _ in range(layers)]
        self.blocks = nn.ModuleList(blocks)
        if init == "identity":
            for last in itertools.chain.from_iterable((block.out, block.narrow) for block in blocks):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def queries(self, items: Tensor) -> Tensor:
        """Windows of items [m, T, D], not normalised, to sequences [m, T, D]."""
        for block in self.blocks:
            items = block(items)
        return items

    def prototypes(self, items: Tensor, texts: Tensor) -> Tensor:
        """One clip of each class, [n, T, D], and the raw text embeddings of the classes, [n, D], to [n, T, D]."""
        tokens = torch.cat((items, texts.unsqueeze(1)), dim=1)
        return self.queries(tokens)[:, : items.shape[1]]


class _Block(nn.Module):
    def __init__(self, dimensions: int, heads: int, hidden: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dimensions)
        self.query_key_value = nn.Linear(dimensions, 3 * dimensions, bias=False)
        self.out = nn.Linear(dimensions, dimensions)
        self.widen = nn.Linear(dimensions, hidden)
        self.narrow = nn.Linear(hidden, dimensions)
        self.attention_dropout = nn.Dropout(0.2)
        self.dropout = nn.Dropout(0.05)

    def forward(self, tokens: Tensor) -> Tensor:
        """[m, n, D] -> [m, n, D]."""
        rows, length, dimensions = tokens.shape
        joined = self.query_key_value(self.norm(tokens)).view(rows, length, 3, self.heads, dimensions // self.heads)
        query, key, value = joined.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(rows, length, dimensions)
        tokens = tokens + self.attention_dropout(self.out(seen))
        changed: Tensor = tokens + self.dropout(self.narrow(self.dropout(F.gelu(self.widen(tokens)))))
        return changed


def merged(items: Tensor) -> Tensor:
    """The clips of a class as one: supports [..., K, T, D] averaged frame by frame, [..., T, D] ("merge before")."""
    return items.mean(dim=-3)
