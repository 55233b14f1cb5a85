"""Parts of a recipe that cannot train together: said before anything is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def what_does_not_fit(recipe: Any) -> list[str]:
    """What of a `trainer.recipe.Recipe` excludes each other, with the remedy."""
    return [*_prompt(recipe), *_context(recipe), *_bank(recipe), *_episodes(recipe)]


def _prompt(recipe: Any) -> Iterator[str]:
    kind = recipe.model.prompt.kind
    if kind == "none":
        return
    said = f"model.prompt {kind} looks at all frames of a window together"
    if recipe.data.clips is None:
        yield f"{said}, and rendered scenes are trained by streams; set data.clips"
    elif recipe.image_frozen or any(stage.frozen for stage in recipe.stages):
        yield f"{said}: no item can be computed once; freeze V1 or V4, and no stage"
    elif any(stage.ticks < recipe.model.frames for stage in recipe.stages):
        yield f"{said}: set ticks of every stage to model.frames, {recipe.model.frames}"
    if kind == "vita" and recipe.freeze != "V3":
        yield "model.prompt vita teaches prompts to towers that rest; set freeze to V3"


def _context(recipe: Any) -> Iterator[str]:
    if recipe.model.context is not None and not recipe.text_frozen:
        yield "model.context is learned for a text tower that rests; set freeze to V1 or V3"
    if recipe.model.context is not None and recipe.data.clips is None:
        yield "model.context is for clips of your own; set data.clips"


def _bank(recipe: Any) -> Iterator[str]:
    reads = recipe.loss.objective != "classes" or not recipe.text_frozen or recipe.data.background > 0
    if recipe.model.bank == "learned" and recipe.data.clips is not None and reads:
        yield (
            "model.bank: a learned bank compares clips with its own vectors and reads no text; set loss.objective "
            "classes, freeze V1 or V3, and data.background 0"
        )


def _episodes(recipe: Any) -> Iterator[str]:
    if recipe.episodes is None:
        return
    if recipe.data.clips is None or recipe.model.few_shot is None or not recipe.text_frozen or recipe.model.context:
        yield (
            "episodes: they need clips of your own (data.clips), a part that learns from them (model.few_shot: {}) "
            "and a text tower that rests (freeze: V1 or V3, no model.context)"
        )
    for number, stage in enumerate(recipe.stages):
        if stage.chunks != recipe.episodes.clips or stage.ticks < recipe.model.frames:
            yield (
                f"stages.{number}: an episode has {recipe.episodes.clips} clips (ways * (shots + queries)) of whole "
                f"windows; set chunks to {recipe.episodes.clips} and ticks to {recipe.model.frames} or more"
            )
