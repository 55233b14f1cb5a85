"""Learned context around the words of a label (CoOp, as Vita-CLIP uses it): vectors in place of a template's words.

The text tower rests. Unified context is part of the text network, so that labels added later get it too; that of a
class alone is known for the names of training, and every other text is read plainly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from open_clip.transformer import text_global_pool
from torch import Tensor, nn

from trainer.errors import RecipeError

if TYPE_CHECKING:
    from trainer.models.video_text import Clip


class UnifiedContext(nn.Module):
    """The same M vectors for every text: [start][M vectors][words][end]."""

    def __init__(self, clip: Clip, vectors: int):
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(vectors, _width(text_of(clip))))
        nn.init.normal_(self.vectors, std=0.02)

    def forward(self, clip: Clip, tokens: Tensor) -> Tensor:
        """Token ids [n, context - M] to embeddings [n, D], not normalised."""
        return encode_with(clip, tokens, self.vectors.expand(tokens.shape[0], -1, -1))


class ClassContext(nn.Module):
    """M vectors for each name of training; every other text is read plainly."""

    names: Tensor
    """int64 [C, context - M]: the token ids of the names."""

    def __init__(self, clip: Clip, vectors: int, names: Tensor):
        super().__init__()
        self.register_buffer("names", names)
        self.vectors = nn.Parameter(torch.empty(len(names), vectors, _width(text_of(clip))))
        nn.init.normal_(self.vectors, std=0.02)

    def forward(self, clip: Clip, tokens: Tensor) -> Tensor:
        """Token ids [n, context - M] to embeddings [n, D], not normalised."""
        same = (tokens[:, None] == self.names).all(dim=-1)
        known = same.any(dim=-1)
        embeddings = self.plainly(clip, tokens)
        if not bool(known.any()):
            return embeddings
        own = encode_with(clip, tokens[known], self.vectors[same[known].int().argmax(dim=-1)])
        return embeddings.index_put((known.nonzero()[:, 0],), own)

    def plainly(self, clip: Clip, tokens: Tensor) -> Tensor:
        """The same without any context."""
        return encode_with(clip, tokens, self.vectors[:1, :0].expand(tokens.shape[0], -1, -1))


def encode_with(clip: Clip, tokens: Tensor, vectors: Tensor) -> Tensor:
    """What open_clip's text transformer says of texts behind some vectors: [n, D], not normalised.

    tokens: ids [n, length]; vectors [n, M, w], placed behind the first token. Without vectors it is the tower itself.
    """
    text = text_of(clip)
    count, length = vectors.shape[1], tokens.shape[1] + vectors.shape[1]
    words = text.token_embedding(tokens)
    states = torch.cat((words[:, :1], vectors.to(words.dtype), words[:, 1:]), dim=1)
    states = states + text.positional_embedding[:length].to(words.dtype)
    mask = text.attn_mask[:length, :length] if text.attn_mask is not None else None
    states = text.ln_final(text.transformer(states, attn_mask=mask))
    # The end of a text is found by its token: the vectors count as tokens that it is not.
    ids = torch.cat((tokens[:, :1], tokens.new_zeros(tokens.shape[0], count), tokens[:, 1:]), dim=1)
    pooled: Tensor = text_global_pool(states, ids, _pool(text), eos_token_id=_end(text))
    projection = text.text_projection
    if projection is None:
        return pooled
    found: Tensor = projection(pooled) if isinstance(projection, nn.Module) else pooled @ projection
    return found


def text_of(clip: Clip) -> Any:
    """The text transformer of open_clip's models. Raises RecipeError for other text towers."""
    text: Any = getattr(clip, "text", None) or clip
    known = hasattr(text, "token_embedding") and hasattr(text, "positional_embedding")
    if not known or getattr(text, "cls_emb", None) is not None or getattr(text, "use_pad_mask", False):
        raise RecipeError(
            f"learned context needs a text tower of CLIP, and this one is a {type(text).__name__}; start with a model "
            "of open_clip that has one, or leave out model.context"
        )
    return text


def words_read(clip: Clip) -> int:
    """How many tokens the text tower reads."""
    return int(text_of(clip).positional_embedding.shape[0])


def _width(text: Any) -> int:
    return int(text.token_embedding.weight.shape[1])


def _pool(text: Any) -> str:
    return str(getattr(text, "text_pool_type", None) or getattr(text, "pool_type", "argmax"))


def _end(text: Any) -> int | None:
    return getattr(text, "text_eos_id", None) or getattr(text, "eos_id", None)
