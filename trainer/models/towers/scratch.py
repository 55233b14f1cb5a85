"""A small CLIP with random weights that reads whole words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from trainer.models.blueprint import Blueprint
from trainer.models.text.word_tokenizer import build_tokenizer
from trainer.models.video_text import Foundation

if TYPE_CHECKING:
    from trainer.models.start import Scratch


def build(settings: Scratch, words: Sequence[str]) -> Foundation:
    """Towers that can read `words`; torch's random state decides the weights. Raises what timm and open_clip raise."""
    text = settings.text
    tokenizer = build_tokenizer(words, text.context)
    blueprint = Blueprint(
        name=settings.tower,
        form=settings.form,
        dimensions=settings.dimensions,
        config={
            "embed_dim": settings.dimensions,
            "vision_cfg": {
                "timm_model_name": settings.tower,
                "timm_model_pretrained": False,
                "timm_pool": "avg",
                "timm_proj": "linear",
                "image_size": (settings.height, settings.width),
            },
            "text_cfg": {
                "context_length": text.context,
                "vocab_size": tokenizer.get_vocab_size(),
                "width": text.width,
                "heads": text.heads,
                "layers": text.layers,
            },
        },
    )
    clip: Any = blueprint.build()
    nn.init.normal_(cast(nn.Embedding, clip.token_embedding).weight, std=text.spread)
    return Foundation(clip, tokenizer, blueprint)
