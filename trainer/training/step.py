"""One step of training, which ends the run where a number is no longer finite."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer.errors import TrainingError
from trainer.recipe import Recipe
from trainer.training.blending import interpolated
from trainer.training.distributed import average_gradients
from trainer.training.optimiser import rate_at, set_rate
from trainer.training.tasks import Task

_NAMED = 6
_FARTHEST = 0.6
"""The largest share of the start's weights in the second pass (Open-VCLIP)."""
_SECOND = 2  # keeps its draws apart from those of the data
_REMEDY = "the last good checkpoints are kept; lower optimiser.rate, or set optimiser.clip"


def training_step(
    task: Task, batch: Any, optimiser: torch.optim.Optimizer, recipe: Recipe, step: int, device: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Losses, gradients and the optimiser's step; the losses by name, and the task's report.

    `step` counts from 0. Raises TrainingError that names the step, the loss or the weight, and the clips.
    """
    set_rate(optimiser, rate_at(recipe, step))
    torch.manual_seed(recipe.seed * 1_000_003 + step)  # dropout, as in a run that was never interrupted
    with mixed(device, recipe.optimiser.precision):  # inside it autocast caches its casts of the weights
        losses: dict[str, Tensor]
        losses, numbers = task(batch)
    total = functools.reduce(torch.add, losses.values())
    if not math.isfinite(float(total.detach())):
        names = [name for name, loss in losses.items() if not math.isfinite(float(loss.detach()))] or ["sum"]
        raise TrainingError(_message(step, f"the loss {', '.join(names)} is {float(total.detach())}", batch))
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(total)
    if task.start is not None:
        _second_pass(task, task.start, batch, recipe, step, device)
    average_gradients(task.learning)
    _limit(task, batch, recipe, step)
    optimiser.step()
    return {f"loss_{name}": loss.detach() for name, loss in losses.items()}, numbers


def _second_pass(task: Task, start: Mapping[str, Tensor], batch: Any, recipe: Recipe, step: int, device: str) -> None:
    """Add the gradient at weights on the way back to the start (Open-VCLIP), at a place that is drawn for the step."""
    share = _FARTHEST * np.random.default_rng([recipe.seed, step, _SECOND]).random()
    with interpolated(task.model, start, share):
        with mixed(device, recipe.optimiser.precision):
            losses, _ = task(batch)
        torch.autograd.backward(recipe.loss.second_pass * functools.reduce(torch.add, losses.values()))


def _limit(task: Task, batch: Any, recipe: Recipe, step: int) -> None:
    """Look at the gradients' norm, and clip it."""
    learning = [parameter for parameter in task.learning if parameter.grad is not None]
    norm = nn.utils.get_total_norm([parameter.grad for parameter in learning if parameter.grad is not None])
    if math.isfinite(float(norm)):
        if recipe.optimiser.clip:
            nn.utils.clip_grads_with_norm_(learning, recipe.optimiser.clip, norm)
        return
    gradients = ((name, parameter.grad) for name, parameter in task.named_parameters())
    names = [name for name, found in gradients if found is not None and not bool(torch.isfinite(found).all())]
    raise TrainingError(_message(step, f"the gradient of {(names or ['all weights'])[0]} is not finite", batch))


def _message(step: int, fault: str, batch: Any) -> str:
    clips = list(dict.fromkeys(getattr(batch, "clips", ())))
    more = f" and {len(clips) - _NAMED} more" if len(clips) > _NAMED else ""
    shown = f" (clips: {', '.join(clips[:_NAMED])}{more})" if clips else ""
    return f"step {step + 1}: {fault}{shown}; {_REMEDY}"


def mixed(device: str, precision: str) -> contextlib.AbstractContextManager[object]:
    """bfloat16 autocast where it was chosen, and on a GPU unless something else was."""
    kind = device.split(":")[0]
    if precision == "bfloat16" or (precision == "auto" and kind == "cuda"):
        return torch.autocast(kind, torch.bfloat16)
    return contextlib.nullcontext()
