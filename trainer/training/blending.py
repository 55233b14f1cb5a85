"""Weights between those of the start and those that were trained (Open-VCLIP, WiSE-FT): streaming costs the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from trainer.errors import RecipeError
from trainer.models.text.texts import texts_of
from trainer.models.video_text import VideoTextModel
from trainer.recipe import Recipe


@torch.no_grad()
def blended(model: VideoTextModel, recipe: Recipe, alpha: float) -> None:
    """Move the towers of a trained model: `alpha` of the start's weights, the rest its own; head and prompt stay.

    1 is the start under the trained head, 0 the trained model. Raises RecipeError for a start of random weights.
    """
    if not 0 <= alpha <= 1:
        raise RecipeError(f"alpha is {alpha:g}; it is the share of the start's weights, from 0 to 1")
    if recipe.start.kind == "scratch":
        raise RecipeError(
            "the run started from random weights, between which and its own nothing lies; leave out alpha"
        )
    start = start_weights(recipe)
    for name, tensor in model.state_dict().items():
        if name in start and tensor.is_floating_point():
            tensor.lerp_(start[name].to(tensor), alpha)


def start_weights(recipe: Recipe) -> dict[str, Tensor]:
    """The weights of the towers that a recipe starts with, by their names in the model."""
    words = texts_of(recipe.model.labels, recipe.model.templates.chosen, backgrounds=recipe.model.backgrounds).words
    return {f"clip.{name}": tensor for name, tensor in recipe.start.build(words).clip.state_dict().items()}


@contextlib.contextmanager
def interpolated(model: VideoTextModel, start: Mapping[str, Tensor], share: float) -> Iterator[None]:
    """While it is open, the weights that learn hold `share` of the start's; then they are what they were."""
    moved = {name: parameter for name, parameter in model.named_parameters()
             if parameter.requires_grad and name in start}  # fmt: skip
    kept = {name: parameter.detach().clone() for name, parameter in moved.items()}
    with torch.no_grad():
        for name, parameter in moved.items():
            parameter.lerp_(start[name], share)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, parameter in moved.items():
                parameter.copy_(kept[name])
