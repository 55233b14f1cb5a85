"""What a recipe says of the loss."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trainer.recipes.part import Fraction, Part


class Loss(Part):
    """Weights of the parts of the loss."""

    contrast: float = Field(default=1.0, ge=0)
    """Of the main part: ActionCLIP's symmetric KL between windows and captions, or what `objective` says."""
    objective: Literal["kl", "diagonal", "classes"] = "kl"
    """Of clips: captions of equal labels are all right (kl), or each clip's own alone (diagonal, mmaction2); or every
    clip is compared with all labels at once (classes, Text4Vis and BIKE), best with a text tower that rests."""
    smoothing: Fraction = 0.0
    """With `objective: classes`, the share of the target that is spread over all labels."""
    label: float = Field(default=1.0, ge=0)
    """Cross-entropy over action names and background texts, as serving scores them."""
    pooled: float = Field(default=0.25, ge=0)
    """The same two losses on the plain mean of the items."""
    words: float = Field(default=0.0, ge=0)
    """Linear readouts of action and colour from every single frame; dropped after training."""
    background: float = Field(default=1.0, ge=0)
    """Of clips: cross-entropy over the labels of the batch and the background texts, once there is background."""
    few_shot: float = Field(default=1.0, ge=0)
    """Alpha: of episodes, the cross-entropy of queries over the examples, beside that over the texts (`contrast`)."""
    distil: float = Field(default=0.0, ge=0)
    """Of clips: 1 - cosine of pictures and texts to what the frozen start says of them (FROSTER has 2)."""
    second_pass: float = Field(default=0.0, ge=0)
    """Of clips: weight of the gradient of a second pass, at weights between the start's and the present ones;
    Open-VCLIP has 0.5. A step costs twice as much."""
    ridge: float = Field(default=0.0, ge=0)
    """Of clips: weight of the sum of the squares of the head's matrices. Where few clips meet many features it holds
    back those that say little; `optimiser.weight_decay` draws all weights to zero at one pace."""
    leak: bool = True
    """Softened targets as released; exact ones otherwise."""
    merged: float = Field(default=0.5, ge=0)
    """Of the head `experts`: the main part again, by the merged experts."""
    anchor: float = Field(default=0.1, ge=0)
    """Of the head `experts`: the squared distance of the merged experts' output from the mean of the items."""
