"""Classes recognised from a few examples in place of a text: CLIP-FSAR's modulation of frames, and their alignment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainer.errors import RecipeError
from trainer.recipes.part import Part, Positive

if TYPE_CHECKING:
    from trainer.models.few_shot.modulation import Modulation

_HEADS = 8


class FewShot(Part):
    """The part of a model that compares windows with examples (CLIP-FSAR, section 3)."""

    layers: Positive = 1
    hidden: Positive = 2048
    smoothing: float = Field(default=0.5, gt=0)
    """Lambda of the alignment's soft minimum."""
    init: Literal["paper", "identity"] = "identity"
    """Whether untrained blocks change the frames, as released, or pass them on."""
    scale_init: Literal["release", "clip"] = "clip"
    """Where the scale of the cosines with texts begins: at that of the start (CLIP: 100), or at 1, as released."""

    def build(self, dimensions: int) -> Modulation:
        """The network for items of that width. Raises RecipeError for a width that 8 does not divide."""
        from trainer.models.few_shot.modulation import Modulation

        if dimensions % _HEADS:
            raise RecipeError(f"model.few_shot needs a width that {_HEADS} divides; {dimensions} is none")
        return Modulation(dimensions, self.layers, _HEADS, self.hidden, self.smoothing, self.init)
