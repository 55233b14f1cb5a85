"""Further parts of the loss of clips: each a function of what the model made of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from trainer.models.heads.experts import ExpertTransformer
from trainer.models.video_text import VideoTextModel
from trainer.recipe import Loss


@dataclass(frozen=True)
class Outputs:
    """What the model made of a batch of b clips."""

    items: Tensor
    """Float32 [b, T, D]."""
    loss: Callable[[Tensor], Tensor]
    """The main part of the loss, of embeddings [b, D] of length one."""


Extra = Callable[[Outputs], dict[str, Tensor]]
"""Losses by name, already weighted."""


def extras_of(model: VideoTextModel, weights: Loss) -> tuple[Extra, ...]:
    """The further parts that a model and its recipe ask for."""
    found: list[Extra] = []
    if isinstance(model.head, ExpertTransformer):
        found.append(functools.partial(merged_experts, model.head, weights))
    return tuple(found)


def merged_experts(head: ExpertTransformer, weights: Loss, outputs: Outputs) -> dict[str, Tensor]:
    """The loss of the merged experts, and how far they are from the mean of the items (MoTE).

    The squared distance is that of vectors of length one, because a bundle serves directions alone.
    """
    if outputs.items.shape[1] != len(head.positions):  # a stage of single frames passes no head
        return {}
    merged = F.normalize(head.merged_path(outputs.items), dim=-1)
    pooled = F.normalize(outputs.items.mean(dim=1), dim=-1)
    return {
        "merged": weights.merged * outputs.loss(merged),
        "anchor": weights.anchor * (merged - pooled).square().sum(dim=-1).mean(),
    }
