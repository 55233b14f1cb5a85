"""Checkpoints as safetensors: weights, their moving average, the optimiser's moments and the step. No pickle.

Batches are a function of recipe and step, so a resumed run computes what an uninterrupted one would.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from trainer.errors import CheckpointError
from trainer.models.video_text import VideoTextModel, build
from trainer.recipe import Recipe
from trainer.training.averaging import Average

NAME = "checkpoint.safetensors"
_AVERAGE, _MOMENTS = "average.", "moments."


def save(
    path: Path, task: nn.Module, average: Average, optimiser: torch.optim.Optimizer, step: int, recipe: Recipe
) -> None:
    """Write the state after `step` steps. The old checkpoint is replaced only when the new one is complete."""
    tensors = dict(task.state_dict())
    tensors |= {_AVERAGE + name: tensor for name, tensor in average.state.items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"{_MOMENTS}{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    partial = path.with_suffix(".partial")
    metadata = {"step": str(step), "recipe": recipe.model_dump_json()}
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial, metadata)
    partial.replace(path)


def restore(path: Path, task: nn.Module, average: Average, optimiser: torch.optim.Optimizer, recipe: Recipe) -> int:
    """Load a checkpoint into the parts of a run and return its step. Raises CheckpointError for another recipe."""
    tensors, metadata = _read(path)
    if Recipe.model_validate_json(metadata["recipe"]) != recipe:
        raise CheckpointError(
            f"{path} was written by another recipe, or from another list of clips; train into an empty folder, or "
            "restore what it was"
        )
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith((_AVERAGE, _MOMENTS))}
    task.load_state_dict(kept)
    device = next(task.parameters()).device
    average.state = {name: tensor.to(device) for name, tensor in _part(tensors, _AVERAGE).items()}
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, _MOMENTS).items():
        index, field = name.split(".")
        state.setdefault(int(index), {})[field] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    return int(metadata["step"])


def load_recipe(path: Path) -> Recipe:
    """The recipe that a checkpoint was trained by. Raises CheckpointError."""
    return Recipe.model_validate_json(_read(path, tensors=False)[1]["recipe"])


def load_model(path: Path, words: Sequence[str]) -> tuple[VideoTextModel, Recipe]:
    """The averaged model of a checkpoint, in evaluation mode, and the recipe that made it.

    words: the vocabulary that it was trained with (`Texts.words` of its source). Raises CheckpointError.
    """
    tensors, metadata = _read(path)
    recipe = Recipe.model_validate_json(metadata["recipe"])
    model = build(recipe.model, recipe.data.height, recipe.data.width, words)
    model.load_state_dict(_part(tensors, _AVERAGE))
    return model.eval(), recipe


def _read(path: Path, *, tensors: bool = True) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            found = {name: file.get_tensor(name) for name in file.keys()} if tensors else {}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is no readable checkpoint: {error}") from error
    if not {"step", "recipe"} <= metadata.keys():
        raise CheckpointError(
            f"{path} lacks step and recipe ({json.dumps(sorted(metadata))}); it is no checkpoint of ours"
        )
    return found, metadata


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
