"""The optimiser with the paper's parameter groups, and learning rates over the steps.

AdamW, with Muon for the convolutions of the image tower: the momentum of a weight matrix, made orthogonal, is its
update. Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024). A kernel
[out, in, h, w] counts as a matrix of `out` rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from trainer.models.video_text import VideoTextModel
from trainer.recipe import Optimiser, Recipe
from trainer.training.freezing import head_parameters, text_parameters

_MOMENTUM = 0.9
_STEPS = 4
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration: steep at zero, so that small singular values grow fast (Jordan et al.)."""


class AdamMuon(torch.optim.AdamW):
    """AdamW, but groups with `orthogonal: True` (no parameter below two dimensions) learn by Muon."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # no overloads
        """One step of all groups. Parameters without a gradient do not change."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group.get("orthogonal")]
        try:
            loss: float | None = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group.get("orthogonal"):
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._turn(parameter, parameter.grad, group["lr"], group["weight_decay"])
        return loss

    def _turn(self, parameter: Tensor, gradient: Tensor, rate: float, decay: float) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())  # AdamW.load_state_dict expects it in every state
            state["momentum"] = torch.zeros_like(parameter)
        state["step"] += 1
        momentum = state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        update = orthogonal(gradient.lerp(momentum, _MOMENTUM).flatten(1))
        rows, columns = update.shape
        update *= max(1.0, rows / columns) ** 0.5
        parameter.mul_(1 - rate * decay).sub_(update.view(parameter.shape), alpha=rate)


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix [m, n] with the singular vectors of the given one and singular values near one (0.5 to 1.3)."""
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.t() if tall else matrix
    turned: Tensor = wide / (wide.norm() + 1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_STEPS):
        square = turned @ turned.t()
        turned = a * turned + (b * square + c * square @ square) @ turned
    return turned.t() if tall else turned


def learning_rate(position: float, *, base: float, warmup: float, total: float) -> float:
    """The rate at `position` (steps or epochs): linear from 0 over `warmup`, then a cosine down to 0 at `total`."""
    if position < warmup:
        return base * position / warmup
    progress = min(1.0, (position - warmup) / max(total - warmup, 1e-12))
    return base * 0.5 * (1.0 + math.cos(math.pi * progress))


def rate_at(recipe: Recipe, step: int) -> float:
    """The learning rate of a step (from 0): one curve while the image tower learns, then one per frozen stage.

    Where the tower is frozen from the beginning, one curve over all steps.
    """
    settings = recipe.optimiser
    first = recipe.steps if recipe.image_frozen else recipe.thawed_steps
    if step < first:
        return learning_rate(step + 1, base=settings.rate, warmup=settings.warmup_steps, total=first + 1)
    stage, begun = recipe.stage_at(step)
    return learning_rate(begun + 1, base=stage.rate, warmup=settings.warmup_steps, total=stage.steps + 1)


def build_optimiser(settings: Optimiser, model: VideoTextModel, extra: Sequence[nn.Parameter] = ()) -> AdamMuon:
    """AdamW over three groups: text tower, image tower and head at their ratios (ActionCLIP); `extra` at the rate.

    With `orthogonal` the image tower's convolutions are a group of their own that learns by Muon. Weight decay reaches
    every parameter, norms and biases included, as in the release. What is frozen is in no group.
    """
    visual = _learning(model.clip.visual.parameters())
    ours = {id(parameter) for parameter in model.clip.visual.parameters()}
    words = [parameter for parameter in _learning(model.clip.parameters()) if id(parameter) not in ours]
    scale: list[nn.Parameter] = []
    if not _learning(text_parameters(model)):  # the scale of the similarities then learns with the head
        words, scale = [], [parameter for parameter in words if parameter is model.clip.logit_scale]
    parts = [parameter for part in (model.few_shot, model.context) if part for parameter in part.parameters()]
    kernels = [parameter for parameter in visual if settings.orthogonal and parameter.ndim == 4]
    turned = {id(parameter) for parameter in kernels}
    groups = [
        {"params": words, "ratio": settings.text_ratio},
        {"params": [parameter for parameter in visual if id(parameter) not in turned], "ratio": settings.image_ratio},
        {"params": kernels, "ratio": settings.orthogonal, "orthogonal": True},
        {
            "params": _learning((*head_parameters(model), *parts, *scale)),
            "ratio": settings.head_ratio,
        },
        {"params": list(extra), "ratio": 1.0},
    ]
    return AdamMuon(
        [group for group in groups if group["params"]],
        lr=settings.rate,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
    )


def _learning(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [parameter for parameter in parameters if parameter.requires_grad]


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of `rate`."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["ratio"]
