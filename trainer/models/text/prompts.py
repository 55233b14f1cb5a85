"""What a recipe says of learned context in texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trainer.recipes.part import Part, Positive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from trainer.models.video_text import Clip


class Context(Part):
    """Learned vectors before the words of a label (CoOp; Vita-CLIP, section 3.3)."""

    kind: Literal["unified", "class"] = "unified"
    """The same for every text, those of labels added later too; or for each name of training alone."""
    vectors: Positive = 8

    def build(self, clip: Clip, labels: Sequence[str], tokens: Callable[[Sequence[str]], Tensor]) -> nn.Module:
        """The context of the labels of training. Raises RecipeError for a text tower that is none of CLIP's."""
        from trainer.models.text.context import ClassContext, UnifiedContext

        if self.kind == "unified":
            return UnifiedContext(clip, self.vectors)
        return ClassContext(clip, self.vectors, tokens(labels))
