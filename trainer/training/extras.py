"""Further parts of the loss of clips: each a function of what the model made of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.models.heads.experts import ExpertTransformer
from trainer.models.video_text import VideoTextModel
from trainer.recipes.loss import Loss
from trainer.training.distillation import Distillation


@dataclass(frozen=True)
class Outputs:
    """What the model made of a batch of b clips."""

    windows: Tensor
    """Pictures uint8 [b, T, H, W, 3], or features float32 [b, T, F] of a tower that rests."""
    items: Tensor
    """Float32 [b, t, D]."""
    tokens: Tensor
    """Of the captions, [b, context]."""
    texts: Tensor
    """The captions, [b, D]."""
    loss: Callable[[Tensor], Tensor]
    """The main part of the loss, of embeddings [b, D] of length one."""


Extra = Callable[[Outputs], dict[str, Tensor]]
"""Losses by name, already weighted."""


def extras_of(model: VideoTextModel, weights: Loss, teacher: Distillation | None = None) -> tuple[Extra, ...]:
    """The further parts that a model and its recipe ask for."""
    found: list[Extra] = []
    if isinstance(model.head, ExpertTransformer):
        found.append(functools.partial(merged_experts, model.head, weights))
    if teacher is not None:
        found.append(functools.partial(held_to_start, teacher, weights))
    if weights.ridge:
        found.append(functools.partial(ridge, model.head, weights))
    return tuple(found)


def ridge(head: nn.Module, weights: Loss, outputs: Outputs) -> dict[str, Tensor]:
    """The sum of the squares of the head's matrices; vectors such as biases and positions of norms are free."""
    matrices = [parameter for parameter in head.parameters() if parameter.ndim > 1 and parameter.requires_grad]
    return {"ridge": weights.ridge * torch.stack([matrix.square().sum() for matrix in matrices]).sum()}


def held_to_start(teacher: Distillation, weights: Loss, outputs: Outputs) -> dict[str, Tensor]:
    """How far pictures and texts went from what the start says of them; nothing of features that were computed once."""
    if outputs.windows.is_floating_point():
        return {}
    return {"distil": weights.distil * teacher(outputs.windows, outputs.items, outputs.tokens, outputs.texts)}


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
