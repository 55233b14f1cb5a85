"""What a text tower says at each token of a text, beside what it says of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer.errors import RecipeError
from trainer.models.video_text import VideoTextModel


class Words(nn.Module):
    """Token ids int64 [n, context] to embeddings [n, context, D] at each of them, projected as the text itself is.

    Not normalised. Raises RecipeError for a text tower that is not open_clip's, or that reads a learned context.
    """

    def __init__(self, model: VideoTextModel):
        super().__init__()
        clip: Any = model.clip
        self.tower = getattr(clip, "text", clip)
        if not hasattr(self.tower, "token_embedding") or not isinstance(self.tower.text_projection, Tensor):
            raise RecipeError("pooling by words needs open_clip's own text tower; choose another rule")
        if model.context is not None:
            raise RecipeError("pooling by words reads texts without a learned context; choose another rule")

    def forward(self, tokens: Tensor) -> Tensor:
        """[n, context] -> [n, context, D]."""
        tower: Any = self.tower
        states = tower.token_embedding(tokens) + tower.positional_embedding[: tokens.shape[1]]
        said: Tensor = tower.ln_final(tower.transformer(states, attn_mask=tower.attn_mask)) @ tower.text_projection
        return said


@torch.inference_mode()
def word_embeddings(model: VideoTextModel, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Embeddings float32 [n, context, D] at all tokens of texts, and bool [n, context]: which are words of the text.

    As `Words` gives them, and raises.
    """
    entries = model.tokenizer.encode_batch(list(texts))
    tokens = torch.from_numpy(np.array([entry.ids for entry in entries], np.int64)).to(model.device)
    said = Words(model)(tokens)
    used = np.array([np.array(entry.special_tokens_mask) == 0 for entry in entries])
    used &= np.array([entry.attention_mask for entry in entries], bool)
    return said.float(), torch.from_numpy(used).to(model.device)
