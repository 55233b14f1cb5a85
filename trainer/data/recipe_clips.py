"""The clips that a recipe names, with the splits that it draws."""

from __future__ import annotations

import logging

from trainer.data.manifest import Clip, checked, list_hash, scan
from trainer.data.splits import drawn
from trainer.errors import RecipeError
from trainer.recipe import Recipe

log = logging.getLogger(__name__)


def clips_of(recipe: Recipe) -> list[Clip]:
    """The clips of `data.clips`. Where the list names no split, `data.validate_share` of them are kept apart by group.

    Raises RecipeError for a list that cannot be read, and where the recipe names none.
    """
    if recipe.data.clips is None:
        raise RecipeError(f"recipe {recipe.name!r} names no list of clips; set data.clips")
    listed = checked(scan(recipe.data.clips), taught=recipe.episodes is not None)
    if listed.splits:
        return list(listed.clips)
    clips, missing = drawn(listed.clips, {"validate": recipe.data.validate_share}, recipe.seed)
    if missing:
        reason = "no clips are kept apart to validate, since a label has those of one group or file only"
        log.warning("%s: %s; the training clips are measured", listed.path, reason)
    return clips


def with_labels(recipe: Recipe) -> Recipe:
    """The recipe, completed from its list of clips.

    The distinct labels become the model's, as do the texts of the background that trains. The hash goes into
    checkpoints, so that a resumed run notices another list.
    """
    if recipe.data.clips is None:
        return recipe
    clips = clips_of(recipe)
    said = {
        "labels": tuple(sorted({label for clip in clips for label in clip.labels})),
        "backgrounds": tuple(sorted({text for clip in clips if clip.split == "train" for text in clip.shows})),
    }
    data = recipe.data.model_copy(update={"clips_hash": list_hash(clips)})
    return recipe.model_copy(update={"data": data, "model": recipe.model.model_copy(update=said)})
