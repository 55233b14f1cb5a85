"""Temporal heads: windows of frame embeddings, float32 [m, T, D], to one embedding each, [m, D], not normalised.

ActionCLIP's post-network prompts (section 3.3 and its release). Each part of a recipe builds its network; the union of
the parts is the list of heads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Tag

from trainer.errors import RecipeError
from trainer.recipes.part import Part, Positive, by

if TYPE_CHECKING:
    from torch import nn


Init = Literal["paper", "identity"]
"""As published, or so that an untrained head has the direction of the mean: a safe start for labels never trained."""


class MeanP(Part):
    """The mean over the window; nothing to learn."""

    architecture: Literal["meanp"] = "meanp"

    def build(self, dimensions: int, frames: int) -> nn.Module:
        """The network for windows [m, frames, dimensions]."""
        from trainer.models.heads.mean_pool import MeanPool

        return MeanPool()


class Conv1D(Part):
    """A convolution over time, one kernel per channel, that starts as a shift of channels; `identity` as none."""

    architecture: Literal["conv1d"] = "conv1d"
    init: Init = "paper"

    def build(self, dimensions: int, frames: int) -> nn.Module:
        """The network for windows [m, frames, dimensions]."""
        from trainer.models.heads.convolution import TemporalConvolution

        return TemporalConvolution(dimensions, self.init)


class Concat(Part):
    """One linear map of all items of the window, in order, added to their mean."""

    architecture: Literal["concat"] = "concat"

    def build(self, dimensions: int, frames: int) -> nn.Module:
        """The network for windows [m, frames, dimensions]."""
        from trainer.models.heads.concatenation import Concatenation

        return Concatenation(dimensions, frames)


class Change(Part):
    """How much each channel of the items changes over the window, from one item to those `spans` later, alone."""

    architecture: Literal["change"] = "change"
    spans: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1, 2, 4)

    def build(self, dimensions: int, frames: int) -> nn.Module:
        """The network for windows [m, frames, dimensions]. Raises RecipeError for a span that no window holds."""
        from trainer.models.heads.change import Change as Network

        if max(self.spans) >= frames:
            raise RecipeError(
                f"the head change compares items {max(self.spans)} apart, and a window has {frames}; lower head.spans, "
                "or raise model.frames"
            )
        return Network(dimensions, self.spans)


class Lstm(Part):
    """One recurrent layer, whose output is added to the items. `identity` starts as the mean."""

    architecture: Literal["lstm"] = "lstm"
    init: Init = "paper"

    def build(self, dimensions: int, frames: int) -> nn.Module:
        """The network for windows [m, frames, dimensions]."""
        from trainer.models.heads.recurrent import Recurrent

        return Recurrent(dimensions, self.init)


class Transf(Part):
    """A transformer whose output is added to the items. `identity` starts with the direction of the mean."""

    architecture: Literal["transf"] = "transf"
    layers: Positive = 3
    init: Init = "identity"

    def build(self, dimensions: int, frames: int) -> nn.Module:
        """The network for windows [m, frames, dimensions]. Raises RecipeError for a width that 64 does not divide."""
        from trainer.models.heads.transformer import TemporalTransformer

        _divides(64, dimensions, self.architecture)
        return TemporalTransformer(dimensions, frames, self.layers, self.init)


class TransfCls(Part):
    """A transformer that is read at a learned class token; the items are not added to its output."""

    architecture: Literal["transf_cls"] = "transf_cls"
    layers: Positive = 6

    def build(self, dimensions: int, frames: int) -> nn.Module:
        """The network for windows [m, frames, dimensions]. Raises RecipeError for a width that 8 does not divide."""
        from trainer.models.heads.class_token import ClassToken

        _divides(8, dimensions, self.architecture)
        return ClassToken(dimensions, frames, self.layers)


class Experts(Part):
    """Transf with several experts in each block (MoTE), which are merged into one when the model is exported."""

    architecture: Literal["experts"] = "experts"
    layers: Positive = 4
    experts: int = Field(default=4, ge=2)
    init: Init = "identity"

    def build(self, dimensions: int, frames: int) -> nn.Module:
        """The network for windows [m, frames, dimensions]. Raises RecipeError for a width that 64 does not divide."""
        from trainer.models.heads.experts import ExpertTransformer

        _divides(64, dimensions, self.architecture)
        return ExpertTransformer(dimensions, frames, self.layers, self.experts, self.init)


Head = Annotated[
    Annotated[MeanP, Tag("meanp")]
    | Annotated[Conv1D, Tag("conv1d")]
    | Annotated[Concat, Tag("concat")]
    | Annotated[Change, Tag("change")]
    | Annotated[Lstm, Tag("lstm")]
    | Annotated[Transf, Tag("transf")]
    | Annotated[TransfCls, Tag("transf_cls")]
    | Annotated[Experts, Tag("experts")],
    by("architecture", "transf"),
]
"""What a recipe can name as its head."""


def _divides(number: int, dimensions: int, architecture: str) -> None:
    if dimensions % number:
        raise RecipeError(f"the head {architecture} needs a width that {number} divides; {dimensions} is none")
