"""The footage that a recipe trains on and is measured on."""

from __future__ import annotations

from functools import partial

from engines.bundle.manifest import Input
from trainer.demo.footage import Plan
from trainer.errors import RecipeError
from trainer.recipe import Recipe
from trainer.scenes.vocabulary import split_of

CLIP_SEEDS = 5_000  # offset of the validation clips' seeds from those of the validation streams
TRAINING_CLIP_SEEDS = 1_000  # the same, of training clips and streams


def plans(recipe: Recipe, form: Input) -> dict[str, Plan]:
    """The footage a recipe trains on (`train...`) and is measured on (`streams`, and the clips `unseen` and `seen`).

    Pictures are drawn in the form that the image tower takes.
    Raises RecipeError where training and validation would share seeds, or scenes are too short for a stage or a window.
    """
    data, check = recipe.data, recipe.validate_on
    stream = partial(Plan, "stream", rate=data.rate, height=form.height, width=form.width)
    clip = partial(Plan, "clip", rate=data.rate, height=form.height, width=form.width)
    first, seconds = check.first_seed + CLIP_SEEDS, check.clip_seconds
    found = {
        "train": stream(data.first_seed, data.streams, data.seconds, pairs="seen", density=data.density),
        "streams": stream(check.first_seed, check.streams, check.seconds, pairs="all"),
        "unseen": clip(first, check.clips, seconds, pairs="unseen"),
        "seen": clip(first + 1_000, check.clips, seconds, pairs="seen"),
    }
    if data.rendered_clips:
        found["train clips"] = clip(
            data.first_seed + TRAINING_CLIP_SEEDS, data.rendered_clips, data.clip_seconds, pairs="seen"
        )
    for name, plan in found.items():
        _check(name, plan, recipe)
    return found


def _check(name: str, plan: Plan, recipe: Recipe) -> None:
    training = name.startswith("train")
    role = "train" if training else "validate"
    last = plan.first_seed + plan.count - 1
    if {split_of(plan.first_seed), split_of(last)} != {role}:
        raise RecipeError(
            f"the scenes of {name!r} would have the seeds {plan.first_seed} to {last}, which are not all for {role}; "
            f"lower {'data' if training else 'validate_on'}.first_seed"
        )
    needed = max(recipe.model.frames, *(stage.ticks for stage in recipe.stages)) if training else recipe.model.frames
    if plan.ticks < needed:
        raise RecipeError(
            f"the scenes of {name!r} have {plan.ticks} frames ({plan.seconds:g} s), and a stage or a window needs "
            f"{needed}; make them longer, or model.frames and the ticks of the stages smaller"
        )
