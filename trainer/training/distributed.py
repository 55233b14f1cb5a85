"""Several processes that train one model: each takes a part of every batch, and all compare with the whole batch.

`torchrun --nproc-per-node 2 -m trainer.cli train RECIPE --out RUN` starts them. Features are gathered before the loss,
gradients averaged after it, so that a step is that of one process with the whole batch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainer.errors import RecipeError
from trainer.models.video_text import VideoTextModel
from trainer.recipe import Recipe

_PATIENCE = timedelta(hours=6)
"""How long the others wait for the first, which alone decodes, validates and writes."""


@contextlib.contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the processes that torchrun started, if it started this one; the device of this process."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield device
        return
    place = f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" else device
    dist.init_process_group("nccl" if place.startswith("cuda") else "gloo", timeout=_PATIENCE)
    try:
        if place.startswith("cuda"):
            torch.cuda.set_device(place)
        yield place
    finally:
        dist.destroy_process_group()


def world() -> int:
    """How many processes train together; 1 without torchrun."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def first() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


@contextlib.contextmanager
def first_then_others() -> Iterator[None]:
    """What is inside is done by the first process, and then by the others, which find it done."""
    if not first():
        dist.barrier()
    yield
    if first() and world() > 1:
        dist.barrier()


def check(model: VideoTextModel, recipe: Recipe) -> None:
    """Refuse what several processes would compute otherwise than one. Raises RecipeError."""
    if world() == 1:
        return
    if recipe.data.clips is None or recipe.episodes is not None:
        kind = "rendered scenes are" if recipe.data.clips is None else "episodes are"
        raise RecipeError(f"{kind} trained in one process, and there are {world()}; start it without torchrun")
    for stage in recipe.stages:
        if stage.chunks % world():
            raise RecipeError(
                f"a batch of {stage.chunks} chunks cannot be shared by {world()} processes; choose a multiple"
            )
    resting = {id(part) for top in model.resting for part in top.modules()}
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and id(module) not in resting:
            raise RecipeError(
                f"{name} is a batch norm, which would see a part of the batch in each of {world()} processes; freeze "
                "the image tower, choose one without batch norms, or train in one process"
            )


def mine(count: int) -> range:
    """The rows of a batch of `count` that belong to this process."""
    part = count // world()
    return range(rank() * part, (rank() + 1) * part)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, part: Tensor) -> Tensor:
        parts = [torch.empty_like(part) for _ in range(world())]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        whole = gradient.contiguous()
        dist.all_reduce(whole)
        return whole[mine(len(whole)).start : mine(len(whole)).stop]


def gathered(part: Tensor) -> Tensor:
    """The rows of all processes, [n, ...] each to [n x world, ...]; gradients find their way back to each part."""
    if world() == 1:
        return part
    whole: Tensor = _Gather.apply(part)
    return whole


def gathered_array(part: npt.NDArray[Any], device: torch.device) -> npt.NDArray[Any]:
    """The rows of all processes of an array without a gradient."""
    if world() == 1:
        return part
    given = torch.from_numpy(part.astype(np.int64)).to(device)
    parts = [torch.empty_like(given) for _ in range(world())]
    dist.all_gather(parts, given)
    return torch.cat(parts).cpu().numpy().astype(part.dtype)


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Give every process the mean of their gradients."""
    if world() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world()
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
