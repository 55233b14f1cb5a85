"""What a recipe says of the model, whatever it starts from."""

from __future__ import annotations

from trainer.models.few_shot import FewShot
from trainer.models.heads import Head, Transf
from trainer.recipes.part import Part, Positive


class Model(Part):
    """A temporal head over windows of `frames` items of two towers into one space."""

    labels: tuple[str, ...] = ()
    """Names of your own actions; training fills them in. Empty: those of the scenes."""
    frames: Positive = 8
    head: Head = Transf()
    few_shot: FewShot | None = None
    """How a class is recognised from a few examples (`loss.few_shot` trains it); None for models without."""
