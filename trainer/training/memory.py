"""Whether a machine can hold a training, told before it begins: a process killed for its memory says nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from trainer.errors import RecipeError
from trainer.models.memory import available, gibibytes
from trainer.models.video_text import VideoTextModel
from trainer.recipe import Recipe
from trainer.training.freezing import frozen_names
from trainer.training.step import mixed


@dataclass(frozen=True)
class Needed:
    """Bytes that a training holds at once, at least."""

    weights: int
    """The model and the moving average of what learns."""
    learning: int
    """Gradients, and two moments of each."""
    activations: int
    """What a batch keeps for the backward pass."""

    @property
    def total(self) -> int:
        """All of it."""
        return sum(astuple(self))


def check(model: VideoTextModel, recipe: Recipe, device: str) -> None:
    """Raise RecipeError with what the training needs and what there is, where that is less."""
    found, there = needed(model, recipe, device), available(device)
    if found.total > there:
        raise RecipeError(
            f"recipe {recipe.name!r} needs at least {gibibytes(found.total)} of memory, and {device} has "
            f"{gibibytes(there)}: weights {gibibytes(found.weights)}, gradients and moments "
            f"{gibibytes(found.learning)}, activations of {_pictures(recipe)} pictures a step "
            f"{gibibytes(found.activations)}; lower stages.chunks, raise optimiser.accumulate, set "
            "optimiser.recompute=true, freeze more (freeze, open_stages), or take a smaller model"
        )


def needed(model: VideoTextModel, recipe: Recipe, device: str) -> Needed:
    """What the training of a model needs; activations by one picture (or window) and one caption that pass it now."""
    still = frozen_names(model)
    state = {name: tensor.nbytes for name, tensor in model.state_dict().items()}
    average = sum(size for name, size in state.items() if name not in still)
    if recipe.loss.distil or recipe.loss.second_pass:
        average += sum(size for name, size in state.items() if name.startswith("clip."))  # the start stays at hand
    learning = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    return Needed(sum(state.values()) + average, 3 * learning, _activations(model, recipe, device))


def _activations(model: VideoTextModel, recipe: Recipe, device: str) -> int:
    form = model.blueprint.form
    frames = recipe.model.frames if model.together else 1  # what passes the tower together
    window = torch.zeros((1, frames, form.height, form.width, 3), dtype=torch.uint8, device=model.device)
    at_once = -(-_pictures(recipe) // frames // recipe.optimiser.accumulate)
    captions = 0 if recipe.text_frozen else max(stage.chunks for stage in recipe.stages)
    model.eval()  # one picture moves no statistics
    with mixed(device, recipe.optimiser.precision):
        kept = at_once * _kept(model, lambda: model.window_items(window)) if at_once else 0
        kept += captions * _kept(model, lambda: model.encode_text(model.tokens(["a"]))) if captions else 0
    model.train()
    return kept


def _kept(model: VideoTextModel, forward: Callable[[], Tensor]) -> int:
    """Bytes that a forward pass keeps for its backward pass, the weights left out."""
    weights = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = forward()
    assert result is not None  # alive until here, and so is all that it keeps: no storage was used twice
    return sum(sizes.values())


def _pictures(recipe: Recipe) -> int:
    """The most pictures that pass the image tower in a step."""
    whole = recipe.model.frames
    return max(
        (
            stage.chunks * (stage.ticks if recipe.data.clips is None else whole if stage.ticks >= whole else 1)
            for stage in recipe.stages
            if not recipe.draws_items(stage)
        ),
        default=0,
    )
