"""What a recipe says of the model, whatever it starts from."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from trainer.models.few_shot import FewShot
from trainer.models.heads import Head, Transf
from trainer.models.text.prompts import Context
from trainer.models.text.templates import Templates
from trainer.models.towers.prompts import Plain, Prompt
from trainer.recipes.part import Part, Positive


class Model(Part):
    """A temporal head over windows of `frames` items of two towers into one space."""

    labels: tuple[str, ...] = ()
    """Names of your own actions; training fills them in. Empty: those of the scenes."""
    backgrounds: tuple[str, ...] = ()
    """Your own texts of what background clips show; training fills them in. They stand beside ours."""
    frames: Positive = 8
    prompt: Prompt = Plain()
    head: Head = Transf()
    templates: Templates = Templates()
    context: Context | None = None
    """Learned vectors before the words of a label; None for the templates alone."""
    bank: Literal["texts", "learned"] = "texts"
    """What windows are compared with: texts, or a learned vector per label. The latter is the unimodal baseline of the
    paper: it reads no text, so nothing can be watched for with it."""
    few_shot: FewShot | None = None
    """How a class is recognised from a few examples (`loss.few_shot` trains it); None for models without."""

    @model_validator(mode="after")
    def _context_is_the_sentence(self) -> Model:
        if self.context is not None and len(self.templates.chosen) != 1:
            raise ValueError("context: the learned vectors are the sentence; set templates.own to ['{}.']")
        return self

    @model_validator(mode="after")
    def _joint_has_no_head(self) -> Model:
        if self.prompt.kind == "joint" and self.head.architecture != "meanp":
            raise ValueError("head: the prompt joint gives one embedding per window; set head.architecture to meanp")
        return self
