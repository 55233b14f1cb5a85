"""Classes recognised from a few examples in place of a text: CLIP-FSAR's modulation of frames and their alignment, and
frames and motion whitened by what clips of one class differ in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainer.errors import RecipeError
from trainer.models.few_shot.matching import Matching
from trainer.recipes.part import Part, Positive

if TYPE_CHECKING:
    from trainer.models.few_shot.comparison import Comparison

_HEADS = 8


class FewShot(Part):
    """The part of a model that compares windows with examples (CLIP-FSAR, section 3)."""

    matching: Matching = "alignment"
    """What a bundle compares: frames after the modulation, aligned in time (the paper); or frames and motion at the
    same place, whitened, for which nothing need be trained. Every report shows both."""
    layers: int = Field(default=1, ge=0)
    """Blocks of the modulation; 0 for none."""
    hidden: Positive = 2048
    smoothing: float = Field(default=0.5, gt=0)
    """Lambda of the alignment's soft minimum."""
    shrinkage: float = Field(default=1.0, gt=0)
    """How much of the mean variance is added to every direction before whitening, against what few clips cannot tell.
    """
    init: Literal["paper", "identity"] = "identity"
    """Whether untrained blocks change the frames, as released, or pass them on."""
    scale_init: Literal["release", "clip"] = "clip"
    """Where the scale of the cosines with texts begins: at that of the start (CLIP: 100), or at 1, as released."""

    def build(self, dimensions: int, frames: int, labels: int) -> Comparison:
        """The part for items of that width, windows of so many, and so many classes of which some are trained.

        Raises RecipeError for a width that 8 does not divide.
        """
        from trainer.models.few_shot.comparison import Comparison
        from trainer.models.few_shot.known import KnownClasses
        from trainer.models.few_shot.modulation import Modulation
        from trainer.models.few_shot.whitening import Whitening

        if dimensions % _HEADS:
            raise RecipeError(f"model.few_shot needs a width that {_HEADS} divides; {dimensions} is none")
        return Comparison(
            Modulation(dimensions, self.layers, _HEADS, self.hidden, self.smoothing, self.init),
            Whitening(dimensions, self.shrinkage),
            KnownClasses(labels, frames, dimensions),
            self.matching,
        )
