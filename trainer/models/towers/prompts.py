"""What a recipe says of visual prompts: how the image tower looks at the frames of a window together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Tag

from trainer.recipes.part import Part, Positive, by

if TYPE_CHECKING:
    from torch import nn


class Plain(Part):
    """Every frame by itself: encoded once, whatever windows it is in."""

    kind: Literal["none"] = "none"

    def build(self, visual: nn.Module, frames: int) -> nn.Module:
        """The tower itself."""
        return visual


class Joint(Part):
    """All patches of all frames in one sequence (ActionCLIP, pre-network): one embedding per window, and no head."""

    kind: Literal["joint"] = "joint"

    def build(self, visual: nn.Module, frames: int) -> nn.Module:
        """The tower over windows of `frames`. Raises RecipeError for a tower that is no vision transformer."""
        from trainer.models.towers.video import JointTower

        return JointTower(visual, frames)


class Shift(Part):
    """Channels of the frames beside it in every frame (ActionCLIP, in-network), under a head."""

    kind: Literal["shift"] = "shift"
    placement: Literal["in_place", "residual"] = "in_place"
    """As released, or on the attention branch alone, which leaves the pictures themselves whole."""
    causal: bool = False
    """Whether a frame takes nothing from the next one: served frame by frame, each encoded once."""

    def build(self, visual: nn.Module, frames: int) -> nn.Module:
        """The tower over windows. Raises RecipeError for a tower that is no vision transformer."""
        from trainer.models.towers.video import ShiftTower

        return ShiftTower(visual, self.placement, self.causal)


class Vita(Part):
    """Summary, global and local prompts in a tower that rests (Vita-CLIP), read as the mean of its frames."""

    kind: Literal["vita"] = "vita"
    prompts: Positive = 8
    """Global prompts of each block."""

    def build(self, visual: nn.Module, frames: int) -> nn.Module:
        """The tower over windows of `frames`. Raises RecipeError for a tower that is no vision transformer."""
        from trainer.models.towers.vita import VitaTower

        return VitaTower(visual, frames, self.prompts)


Prompt = Annotated[
    Annotated[Plain, Tag("none")]
    | Annotated[Joint, Tag("joint")]
    | Annotated[Shift, Tag("shift")]
    | Annotated[Vita, Tag("vita")],
    by("kind", "none"),
]
"""What a recipe can name as its visual prompt."""
