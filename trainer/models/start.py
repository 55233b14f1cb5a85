"""What a training starts from: nothing, a CLIP, two towers of different origin, or what was trained before.

Preprocessing, activation, context length and tokenizer come from the start. A recipe names one:

    start: {kind: clip, name: ViT-B-32-quickgelu, pretrained: ViT-B-32.pt}
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Tag

from engines.bundle.manifest import Input
from trainer.recipes.part import Part, Positive, by

if TYPE_CHECKING:
    from trainer.models.video_text import Foundation

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class Text(Part):
    """The text tower of a model from scratch: open_clip's transformer over whole words."""

    context: Positive = 24
    width: Positive = 128
    heads: Positive = 4
    layers: Positive = 3
    spread: float = Field(default=0.02, gt=0)
    """Standard deviation of the word embeddings at the start; larger keeps captions apart from the first step on."""


class Scratch(Part):
    """Random weights: a small CLIP for cameras and actions that look alike."""

    kind: Literal["scratch"] = "scratch"
    tower: str = "actionwire_resnet"
    """Any image tower that timm knows; `actionwire_resnet` and `actionwire_resnet_wide` are ours."""
    dimensions: Positive = 256
    height: Positive = 96
    width: Positive = 128
    text: Text = Text()
    mean: tuple[float, float, float] = _CLIP_MEAN
    std: tuple[float, float, float] = _CLIP_STD

    def build(self, words: Sequence[str]) -> Foundation:
        """Towers with random weights that can read `words`. Raises what timm and open_clip raise."""
        from trainer.models.towers import scratch

        return scratch.build(self, words)

    @property
    def form(self) -> Input:
        """How pictures reach the network."""
        return Input(height=self.height, width=self.width, resize="area", crop="squash", mean=self.mean, std=self.std)


class Clip(Part):
    """Any open_clip model with its weights."""

    kind: Literal["clip"] = "clip"
    name: str
    """A name that open_clip knows, `local-dir:FOLDER` or `hf-hub:NAME`."""
    pretrained: str | None = None
    """A tag of that model, or a file; not with the two prefixes."""
    like: str | None = None
    """The tag whose preprocessing a file shares, where the model's tags disagree about it."""

    def build(self, words: Sequence[str]) -> Foundation:
        """Both towers as published. Raises PretrainedError."""
        from trainer.models.towers import pretrained

        return pretrained.foundation(self.name, self.pretrained, like=self.like)


class ImageTower(Part):
    """An image tower of timm, which brings no texts."""

    name: str
    """A model that timm knows."""
    weights: str
    """A file, or `package:NAME` for one of the weights that `trainer.models.towers.packaged` knows."""
    size: Positive | tuple[Positive, Positive] = 224
    """Height and width of the pictures, or the side of a square."""
    crop: Literal["squash", "centre"] = "squash"
    """Whether the whole picture is squeezed into that size, or its largest central part is taken."""


class TextTower(Part):
    """A text encoder as Hugging Face's transformers store them; its space becomes the joint one."""

    folder: str
    """A folder with config.json, weights and tokenizer.json, or `package:NAME`."""
    pooling: Literal["mean", "cls"] = "mean"
    """How the states of the tokens become one: sentence encoders take the mean, a plain BERT the first."""
    context: Positive = 32


class Parts(Part):
    """An image tower and a text encoder that have never met. A projection between them is learned with the head."""

    kind: Literal["parts"] = "parts"
    image: ImageTower
    text: TextTower
    space: Literal["text", "image"] = "text"
    """Whose space the joint one is: the text encoder's, into which features are projected as training learns to; or the
    image tower's. There every feature stays a channel of its own, for heads that look at channels, and texts are
    rotated into that wider space, which keeps their cosines.
    """
    logit_scale: float = Field(default=1 / 0.07, gt=0, le=100)
    """The scale of the similarities at the start, which is learned."""

    def build(self, words: Sequence[str]) -> Foundation:
        """Both towers with their weights. Raises PretrainedError."""
        from trainer.models.towers import parts

        return parts.build(self)


class Run(Part):
    """A model that was trained here before; its texts, towers and, unless `head` is `new`, its head go on learning."""

    kind: Literal["run"] = "run"
    checkpoint: Path
    """A run folder, or a checkpoint in it."""
    head: Literal["keep", "new"] = "keep"

    def build(self, words: Sequence[str]) -> Foundation:
        """The averaged weights of the checkpoint. Raises CheckpointError, RecipeError for words that it cannot read."""
        from trainer.models import checkpoint_file

        return checkpoint_file.foundation(self.checkpoint, words, keep_head=self.head == "keep")


class Release(Part):
    """A checkpoint that was published with ActionCLIP, in its own form or in that of mmaction2's port."""

    kind: Literal["release"] = "release"
    file: Path
    head: Literal["keep", "new"] = "keep"

    def build(self, words: Sequence[str]) -> Foundation:
        """Its CLIP and, unless a new one is wanted, its temporal head. Raises PretrainedError."""
        from trainer.models.towers import release

        return release.build(self)


Start = Annotated[
    Annotated[Scratch, Tag("scratch")]
    | Annotated[Clip, Tag("clip")]
    | Annotated[Parts, Tag("parts")]
    | Annotated[Run, Tag("run")]
    | Annotated[Release, Tag("release")],
    by("kind", "scratch"),
]
"""What a recipe can start from."""
