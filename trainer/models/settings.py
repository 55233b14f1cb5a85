"""What a recipe says of the model, whatever it starts from."""

from __future__ import annotations

from trainer.models.heads import Head, Transf
from trainer.recipes.part import Part, Positive


class Model(Part):
    """A temporal head over windows of `frames` items of two towers into one space."""

    labels: tuple[str, ...] = ()
    """Names of your own actions; training fills them in. Empty: those of the scenes."""
    backgrounds: tuple[str, ...] = ()
    """Your own texts of what background clips show; training fills them in. They stand beside ours."""
    frames: Positive = 8
    head: Head = Transf()
