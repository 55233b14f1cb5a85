"""Which footage a recipe trains on and is measured on."""

from __future__ import annotations

from trainer.config import Recipe
from trainer.footage import Plan

CLIP_SEEDS = 5_000  # validation clips take their seeds this far behind the validation streams


def plans(recipe: Recipe) -> dict[str, Plan]:
    """The footage a recipe trains on (`train`) and is measured on (`streams`, `unseen`, `seen` clips)."""
    data, check = recipe.data, recipe.validate_on
    shape = {"rate": data.rate, "height": data.height, "width": data.width}
    first = check.first_seed + CLIP_SEEDS
    clips = {"kind": "clip", "seconds": check.clip_seconds, "count": check.clips, **shape}
    return {
        "train": Plan(
            "stream", data.first_seed, data.streams, data.seconds, pairs="seen", density=data.density, **shape
        ),
        "streams": Plan("stream", check.first_seed, check.streams, check.seconds, pairs="all", **shape),
        "unseen": Plan(first_seed=first, pairs="unseen", **clips),
        "seen": Plan(first_seed=first + 1_000, pairs="seen", **clips),
    }
