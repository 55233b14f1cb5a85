"""What a text tower says at each token of a text, beside what it says of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.errors import RecipeError
from trainer.models.video_text import VideoTextModel


@torch.inference_mode()
def word_embeddings(model: VideoTextModel, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Embeddings float32 [n, context, D] at all tokens of texts, and bool [n, context]: which are words of the text.

    Projected as the text itself is, not normalised. Raises RecipeError for a text tower that is not open_clip's.
    """
    clip: Any = model.clip
    tower = getattr(clip, "text", clip)
    if not hasattr(tower, "token_embedding") or not isinstance(tower.text_projection, Tensor):
        raise RecipeError("pooling by words needs open_clip's own text tower; choose another rule")
    entries = model.tokenizer.encode_batch(list(texts))
    tokens = torch.from_numpy(np.array([entry.ids for entry in entries], np.int64)).to(model.device)
    states = tower.token_embedding(tokens) + tower.positional_embedding[: tokens.shape[1]]
    said = tower.ln_final(tower.transformer(states, attn_mask=tower.attn_mask)) @ tower.text_projection
    used = np.array([np.array(entry.special_tokens_mask) == 0 for entry in entries])
    used &= np.array([entry.attention_mask for entry in entries], bool)
    return said.float(), torch.from_numpy(used).to(model.device)
