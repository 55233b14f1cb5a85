"""Learning rates over the steps, and the optimiser with the paper's parameter groups."""

from __future__ import annotations

import math

import torch
from torch import nn

from trainer.config import Optimiser, Recipe
from trainer.muon import AdamMuon


def learning_rate(position: float, *, base: float, warmup: float, total: float) -> float:
    """The rate at `position` (steps or epochs): linear from 0 over `warmup`, then a cosine down to 0 at `total`."""
    if position < warmup:
        return base * position / warmup
    progress = min(1.0, (position - warmup) / max(total - warmup, 1e-12))
    return base * 0.5 * (1.0 + math.cos(math.pi * progress))


def rate_at(recipe: Recipe, step: int) -> float:
    """The rate of a step, counted from 0: one curve while the image tower learns, then one for every frozen stage."""
    settings = recipe.optimiser
    if step < recipe.thawed_steps:
        return learning_rate(step + 1, base=settings.rate, warmup=settings.warmup_steps, total=recipe.thawed_steps + 1)
    stage, begun = recipe.stage_at(step)
    return learning_rate(begun + 1, base=stage.rate, warmup=settings.warmup_steps, total=stage.steps + 1)


def build_optimiser(
    settings: Optimiser, text: nn.Module, image: nn.Module, head: nn.Module, readouts: nn.Module | None = None
) -> AdamMuon:
    """AdamW over three groups: text tower, image tower and head at their ratios (ActionCLIP); readouts at the rate.

    With `orthogonal` the image tower's convolutions are a group of their own that learns by Muon. Weight decay reaches
    every parameter, norms and biases included, as in the release.
    """
    visual = list(image.parameters())
    ours = {id(parameter) for parameter in visual}
    words = [parameter for parameter in text.parameters() if id(parameter) not in ours]
    kernels = [parameter for parameter in visual if settings.orthogonal and parameter.ndim == 4]
    turned = {id(parameter) for parameter in kernels}
    groups = [
        {"params": words, "ratio": settings.text_ratio},
        {"params": [parameter for parameter in visual if id(parameter) not in turned], "ratio": settings.image_ratio},
        {"params": kernels, "ratio": settings.orthogonal, "orthogonal": True},
        {"params": list(head.parameters()), "ratio": settings.head_ratio},
        {"params": list(readouts.parameters()) if readouts is not None else [], "ratio": 1.0},
    ]
    return AdamMuon(
        [group for group in groups if group["params"]],
        lr=settings.rate,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
    )


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of `rate`."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["ratio"]
