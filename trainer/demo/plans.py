"""Which footage a recipe trains on and is measured on."""

from __future__ import annotations

from trainer.demo.footage import Plan
from trainer.errors import RecipeError
from trainer.recipe import Recipe
from trainer.scenes.vocabulary import split_of

CLIP_SEEDS = 5_000  # validation clips take their seeds this far behind the validation streams
TRAINING_CLIP_SEEDS = 1_000  # and training clips this far behind the training streams


def plans(recipe: Recipe) -> dict[str, Plan]:
    """The footage a recipe trains on (`train...`) and is measured on (`streams`, and the clips `unseen` and `seen`).

    Raises RecipeError where seeds of training and of validation would meet, or a scene is too short for what is to be
    learnt from it.
    """
    data, check = recipe.data, recipe.validate_on
    shape = {"rate": data.rate, "height": data.height, "width": data.width}
    first = check.first_seed + CLIP_SEEDS
    clips = {"kind": "clip", "seconds": check.clip_seconds, "count": check.clips, **shape}
    found = {
        "train": Plan(
            "stream", data.first_seed, data.streams, data.seconds, pairs="seen", density=data.density, **shape
        ),
        "streams": Plan("stream", check.first_seed, check.streams, check.seconds, pairs="all", **shape),
        "unseen": Plan(first_seed=first, pairs="unseen", **clips),
        "seen": Plan(first_seed=first + 1_000, pairs="seen", **clips),
    }
    if data.rendered_clips:
        found["train clips"] = Plan(
            "clip",
            data.first_seed + TRAINING_CLIP_SEEDS,
            data.rendered_clips,
            data.clip_seconds,
            pairs="seen",
            **shape,
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
