"""Which footage a recipe trains on and is measured on."""

from __future__ import annotations

from trainer.config import Recipe
from trainer.footage import Plan

CLIP_SEEDS = 5_000  # validation clips take their seeds this far behind the validation streams
TRAINING_CLIP_SEEDS = 1_000  # and training clips this far behind the training streams


def plans(recipe: Recipe) -> dict[str, Plan]:
    """The footage a recipe trains on (`train...`) and is measured on (`streams`, and the clips `unseen` and `seen`)."""
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
    return found
