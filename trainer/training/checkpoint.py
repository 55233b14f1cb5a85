"""Checkpoints of a run: weights, their moving average, the optimiser's moments and the step.

Batches are a function of recipe and step, so a resumed run computes what an uninterrupted one would. The last two are
kept: one that was written before a training went astray, and the one before it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from trainer.errors import CheckpointError, TrainingError
from trainer.models import checkpoint_file
from trainer.models.checkpoint_file import AVERAGE, MOMENTS, NAME
from trainer.models.video_text import VideoTextModel, assemble
from trainer.recipe import Recipe
from trainer.training.averaging import Average
from trainer.training.tasks import Task

__all__ = ["NAME", "PREVIOUS", "load_model", "load_recipe", "restore", "save"]

PREVIOUS = "checkpoint.previous.safetensors"


def save(path: Path, task: Task, average: Average, optimiser: torch.optim.Optimizer, step: int, recipe: Recipe) -> None:
    """Write the state after `step` steps; what was there becomes the previous one when the new one is complete.

    Raises TrainingError, and writes nothing, where a tensor is not finite.
    """
    tensors: dict[str, Tensor] = dict(task.state_dict())
    tensors |= {AVERAGE + name: tensor for name, tensor in average.state.items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"{MOMENTS}{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TrainingError(
                f"step {step}: {name} is no longer finite; the checkpoint before it is kept in {path.parent}. Lower "
                "optimiser.rate, or set optimiser.clip"
            )
    if path.name == NAME and path.exists():
        _keep(path)
    checkpoint_file.write(path, tensors, task.model, {"step": str(step), "recipe": recipe.model_dump_json()})


def _keep(path: Path) -> None:
    previous = path.with_name(PREVIOUS)
    previous.unlink(missing_ok=True)
    try:
        os.link(path, previous)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, previous)


def restore(path: Path, task: nn.Module, average: Average, optimiser: torch.optim.Optimizer, recipe: Recipe) -> int:
    """Load a checkpoint into the parts of a run and return its step. Raises CheckpointError for another recipe."""
    tensors, metadata = checkpoint_file.read(path)
    if _recipe(path, metadata) != recipe:
        raise CheckpointError(
            f"{path} was written by another recipe, or from another list of clips; train into an empty folder, or "
            "restore what it was"
        )
    device = next(task.parameters()).device
    task.load_state_dict({name: tensors[name] for name in task.state_dict()})
    average.state = {name: tensor.to(device) for name, tensor in checkpoint_file.part(tensors, AVERAGE).items()}
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in checkpoint_file.part(tensors, MOMENTS).items():
        index, field = name.split(".")
        state.setdefault(int(index), {})[field] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    return int(metadata["step"])


def load_recipe(path: Path) -> Recipe:
    """The recipe that a checkpoint was trained by. Raises CheckpointError."""
    return _recipe(path, checkpoint_file.read(path, tensors=False)[1])


def load_model(path: Path) -> tuple[VideoTextModel, Recipe]:
    """The averaged model of a checkpoint, in evaluation mode, and the recipe that made it. Raises CheckpointError."""
    tensors, metadata = checkpoint_file.read(path)
    recipe = _recipe(path, metadata)
    blueprint, tokenizer = checkpoint_file.towers(tensors, metadata)
    model = assemble(recipe.model, blueprint, blueprint.build(), tokenizer)
    model.load_state_dict(checkpoint_file.averaged(tensors))
    return model.eval(), recipe


def _recipe(path: Path, metadata: dict[str, str]) -> Recipe:
    try:
        return Recipe.model_validate_json(metadata["recipe"])
    except ValidationError as error:
        raise CheckpointError(
            f"the recipe in {path} is not one of this version ({error.error_count()} settings differ); train anew"
        ) from error
