"""What of a model does not learn: no gradient, evaluation mode (batch norms stay), no moments, no moving average.

ActionCLIP's options: the text tower (V1), the image tower (V2), both (V3), nothing (V4). A learning rate's ratio of 0
freezes in the same way, and the first stages of an image tower may be frozen alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

from trainer.errors import RecipeError
from trainer.models.video_text import VideoTextModel
from trainer.recipe import Recipe


def freeze(model: VideoTextModel, recipe: Recipe) -> None:
    """Freeze what a recipe says, for good. Raises RecipeError where nothing is left to learn."""
    settings = recipe.optimiser
    if recipe.text_frozen:
        _stop(text_parameters(model))
    if recipe.image_frozen:
        _stop(model.clip.visual.parameters())
    elif recipe.model.prompt.kind == "vita":
        tower: Any = model.clip.visual
        learns = {id(parameter) for parameter in tower.anew}
        _stop(parameter for parameter in tower.parameters() if id(parameter) not in learns)
    elif recipe.open_stages is not None:
        _stop(_before_last(model.clip.visual, recipe.open_stages))
    elif settings.image_ratio == 0:  # the convolutions alone learn, by Muon
        _stop(parameter for parameter in model.clip.visual.parameters() if parameter.ndim != 4)
    if settings.head_ratio == 0:
        _stop(head_parameters(model))
        if recipe.text_frozen:
            _stop([model.clip.logit_scale])  # type: ignore[list-item]  # a parameter, which the protocol does not say
    learning = (
        parameter for parameter in (*head_parameters(model), *model.clip.parameters()) if parameter.requires_grad
    )
    gathers = model.few_shot is not None  # from towers that rest, too
    if not gathers and not any(parameter is not model.clip.logit_scale for parameter in learning):
        raise RecipeError(
            f"nothing is left to learn in recipe {recipe.name!r}: freeze is {recipe.freeze} and the head is "
            f"{recipe.model.head.architecture}; choose a head with weights, or freeze less"
        )
    model.resting = tuple(_resting(model))
    model.train()


def frozen_names(model: VideoTextModel) -> set[str]:
    """The names, in the state of a model, of all that stays as it is."""
    resting = {id(module) for part in model.resting for module in part.modules()}
    names = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    for place, module in model.named_modules():
        if id(module) in resting:
            names |= {f"{place}.{name}" if place else name for name, _ in module.named_buffers(recurse=False)}
    return names


def text_parameters(model: VideoTextModel) -> Iterator[nn.Parameter]:
    """All of the text tower; the scale of the similarities belongs to neither tower."""
    aside = {id(parameter) for parameter in model.clip.visual.parameters()}
    aside |= {id(model.clip.logit_scale), id(getattr(model.clip, "logit_bias", None))}
    return (parameter for parameter in model.clip.parameters() if id(parameter) not in aside)


def head_parameters(model: VideoTextModel) -> tuple[nn.Parameter, ...]:
    """All that is neither tower: head, projection, and a bank that is learned."""
    return (*model.head.parameters(), *model.project.parameters(), *model.bank.parameters())


def _stop(parameters: Iterable[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.requires_grad_(False)


def _resting(module: nn.Module) -> Iterator[nn.Module]:
    """The largest parts of a module in which no parameter learns."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        yield module
        return
    for child in module.children():
        yield from _resting(child)


def _before_last(visual: nn.Module, count: int) -> list[nn.Parameter]:
    """The parameters of an image tower that come before its last `count` stages or blocks."""
    stages = _stages(visual)
    if count > len(stages):
        raise RecipeError(f"open_stages is {count}, and the image tower has {len(stages)} stages; lower it")
    after = {id(parameter) for stage in stages[len(stages) - count :] for parameter in stage.parameters()}
    after |= {id(parameter) for parameter in (*_end(visual, stages), *getattr(visual, "anew", ()))}
    return [parameter for parameter in visual.parameters() if id(parameter) not in after]


def _stages(visual: nn.Module) -> list[nn.Module]:
    """The stages of a tower, or the blocks of a transformer, in their order."""
    trunk: Any = getattr(visual, "trunk", visual)
    for place in ("transformer.resblocks", "blocks", "stages", "layers"):
        found = trunk
        for name in place.split("."):
            found = getattr(found, name, None)
        if isinstance(found, nn.Sequential | nn.ModuleList):
            return list(found)
    numbered = [getattr(trunk, f"layer{number}", None) for number in range(1, 5)]  # residual networks
    if all(isinstance(stage, nn.Module) for stage in numbered):
        return [stage for stage in numbered if stage is not None]
    raise RecipeError(f"the stages of a {type(trunk).__name__} are not known; leave out open_stages")


def _end(visual: nn.Module, stages: list[nn.Module]) -> list[nn.Parameter]:
    """What follows the last stage: parameters that were registered after it, and a transformer's projection."""
    last = [id(parameter) for parameter in stages[-1].parameters()]
    order = list(visual.named_parameters())
    at = max(number for number, (_, parameter) in enumerate(order) if id(parameter) in last)
    projection = getattr(visual, "proj", None)
    return [parameter for _, parameter in order[at + 1 :]] + (
        [projection] if isinstance(projection, nn.Parameter) else []
    )
