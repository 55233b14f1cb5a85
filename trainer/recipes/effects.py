"""Settings that would do nothing in the recipe that holds them: said, never ignored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

_SCENES = (
    "data.first_seed", "data.streams", "data.seconds", "data.density", "data.rendered_clips", "data.clip_seconds",
    "data.jitter", "targets.positive", "targets.negative", "targets.edge", "targets.first", "targets.last",
    "loss.label", "loss.pooled", "loss.words", "validate_on.first_seed", "validate_on.streams", "validate_on.seconds",
    "validate_on.clips", "validate_on.clip_seconds",
)  # fmt: skip
_SCENE_STAGES = ("texts", "balanced", "items")
_CLIPS = (
    "data.sampling", "data.validate_share", "data.max_skipped", "data.background", "data.between", "loss.background",
    "loss.distil", "loss.second_pass", "loss.objective", "loss.smoothing", "loss.ridge", "loss.merged", "loss.anchor",
    "model.bank", "model.templates", "items.copies", "validate_on.keep",
)  # fmt: skip


def without_effect(recipe: Any) -> list[str]:
    """The settings of a `trainer.recipe.Recipe` that differ from their defaults and change nothing, with the reason."""
    return [f"{name} has no effect: {reason}" for name, reason in _inert(recipe) if _is_set(recipe, name)]


def _inert(recipe: Any) -> Iterator[tuple[str, str]]:
    if recipe.data.clips is None:
        yield from ((name, "it is for clips of your own (data.clips)") for name in _CLIPS)
    else:
        yield from ((name, "it is for rendered scenes, and data.clips is set") for name in _SCENES)
    for number, stage in enumerate(recipe.stages):
        place = f"stages.{number}"
        if recipe.data.clips is not None:
            yield from ((f"{place}.{name}", "it is for rendered scenes") for name in _SCENE_STAGES)
        elif not stage.frozen:
            yield f"{place}.items", "the stage is not frozen"
        if not stage.frozen:
            yield f"{place}.rate", "the stage is not frozen; it learns at optimiser.rate"
        if recipe.image_frozen:
            yield f"{place}.frozen", "the image tower is frozen from the first step on"
    if recipe.data.clips is not None and recipe.model.head.architecture != "experts":
        yield from ((name, "the head has no experts") for name in ("loss.merged", "loss.anchor"))
    if recipe.model.head.architecture == "meanp":
        yield "loss.ridge", "the head meanp has no weights"
    if recipe.data.clips is not None:
        yield from _of_the_start(recipe)
    yield (
        "optimiser.average" if recipe.optimiser.averaging == "swa" else "optimiser.average_from",
        (f"optimiser.averaging is {recipe.optimiser.averaging}"),
    )
    if recipe.data.clips is not None and recipe.loss.objective != "classes":
        yield "loss.smoothing", "it is for loss.objective classes"
    if recipe.data.clips is not None and recipe.loss.objective != "kl":
        yield "loss.leak", "it is for loss.objective kl"
    if recipe.loss.objective == "classes":
        yield (
            "loss.background",
            "with loss.objective classes background texts are among what every clip is compared with",
        )
    yield from _of_episodes(recipe)
    yield from _of_freezing(recipe)


def _of_episodes(recipe: Any) -> Iterator[tuple[str, str]]:
    if recipe.episodes is None:
        yield "model.few_shot", "only episodes train it (`episodes: {}`)"
        yield "loss.few_shot", "it is for episodes"
        return
    reason = "episodes show no background"
    yield from ((name, reason) for name in ("data.background", "loss.background"))
    yield "loss.leak", "the targets of episodes are classes"
    yield "loss.ridge", "episodes teach no head"


def _of_the_start(recipe: Any) -> Iterator[tuple[str, str]]:
    """What holds a model to its start."""
    names = ("loss.distil", "loss.second_pass")
    if recipe.start.kind == "scratch":
        yield from ((name, "the start has random weights, which nothing need stay close to") for name in names)
    elif recipe.image_frozen:
        yield "loss.distil", "the image tower is frozen, and stays what it was"
        if recipe.text_frozen:
            yield "loss.second_pass", "both towers are frozen, and stay what they were"


def _of_freezing(recipe: Any) -> Iterator[tuple[str, str]]:
    settings = recipe.optimiser
    if recipe.image_frozen:
        frozen = f"the image tower is frozen (freeze {recipe.freeze}, ratio {settings.image_ratio:g})"
        yield "open_stages", frozen
        if recipe.freeze in ("V2", "V3"):
            yield from ((name, frozen) for name in ("optimiser.image_ratio", "optimiser.orthogonal"))
        yield "optimiser.accumulate", frozen
        if not recipe.items.copies:
            yield "augment", f"{frozen}, and its items are computed once; items.copies encodes changed copies too"
    elif not any(stage.frozen for stage in recipe.stages):
        yield "items.copies", "no step draws from items: the image tower learns in all stages"
    if recipe.freeze in ("V1", "V3"):
        yield "optimiser.text_ratio", f"the text tower is frozen (freeze {recipe.freeze})"
    projects = recipe.start.kind == "parts" and recipe.start.space == "text"
    if recipe.model.head.architecture == "meanp" and not projects and not recipe.text_frozen:
        yield "optimiser.head_ratio", "the head meanp has nothing to learn"
    if recipe.image_frozen and recipe.text_frozen:
        yield "optimiser.recompute", "both towers are frozen"


def _is_set(recipe: Any, name: str) -> bool:
    """Whether a setting has another value than its default."""
    node: Any = recipe
    *parents, last = name.split(".")
    for parent in parents:
        node = node[int(parent)] if parent.isdigit() else getattr(node, parent)
    model: type[BaseModel] = type(node)
    return bool(getattr(node, last) != model.model_fields[last].get_default())
