"""The trained model: a CLIP built through open_clip, a temporal head, and a tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from trainer.models import heads
from trainer.models.text.word_tokenizer import build_tokenizer
from trainer.models.towers.slim_resnet import actionwire_resnet  # noqa: F401  registers the towers with timm
from trainer.recipe import Model

MAX_SCALE = 100.0


class Clip(Protocol):
    """What is used of open_clip's models: two towers into one space, and a learned scale."""

    visual: nn.Module
    text_projection: Tensor
    """[width, D]; of CLIP's own text tower only."""
    logit_scale: Tensor

    def encode_image(self, image: Tensor) -> Tensor:
        """Normalised pixels [n, 3, H, W] to [n, D]."""
        ...

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """Token ids [n, context] to [n, D]."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """As of any module."""
        ...

    def buffers(self) -> Iterator[Tensor]:
        """As of any module."""
        ...


class VideoTextModel(nn.Module):
    """CLIP towers and a head over windows of frame embeddings.

    Pictures are uint8 RGB [n, H, W, 3]; normalisation is part of the network. D is the width of the joint space.
    """

    clip: Clip
    head: nn.Module
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        clip: Clip,
        head: nn.Module,
        tokenizer: Tokenizer,
        *,
        frames: int,
        mean: Sequence[float],
        std: Sequence[float],
    ):
        super().__init__()
        self.clip = clip
        self.head = head
        self.tokenizer = tokenizer
        self.frames = frames
        self.register_buffer("mean", 255.0 * torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255.0 * torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.mean.device

    @property
    def dimensions(self) -> int:
        """D."""
        return int(self.clip.text_projection.shape[-1])

    def encode_frames(self, images: Tensor) -> Tensor:
        """Pictures to items, [n, D], not normalised. Takes uint8, or float in the same range."""
        pixels = images.float().permute(0, 3, 1, 2)  # TensorRT does not permute bytes
        return self.clip.encode_image((pixels - self.mean) / self.std)

    def embed_windows(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Windows of items [m, T, D] to (head, pooled), both [m, D] and L2-normalised."""
        return F.normalize(self.head(windows), dim=-1), F.normalize(windows.mean(dim=1), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids [n, context] to embeddings [n, D], L2-normalised."""
        return self.clip.encode_text(tokens, normalize=True)

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Token ids of texts, int64 [n, context], on the model's device."""
        ids = np.array([entry.ids for entry in self.tokenizer.encode_batch(list(texts))], np.int64)
        return torch.from_numpy(ids).to(self.device)

    @property
    def scale(self) -> Tensor:
        """exp(lambda), clamped to at most 100 (ActionCLIP release: 100 at test)."""
        return self.clip.logit_scale.exp().clamp(max=MAX_SCALE)


def build(settings: Model, height: int, width: int, words: Sequence[str]) -> VideoTextModel:
    """A fresh model for pictures of height x width that can read `words`; torch's random state decides its weights.

    Raises RecipeError for a head that cannot be built, and what timm and open_clip raise.
    """
    tokenizer = build_tokenizer(words, settings.text.context)
    clip = open_clip.CLIP(
        embed_dim=settings.dimensions,
        vision_cfg={
            "timm_model_name": settings.tower,
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
            "image_size": (height, width),
        },
        text_cfg={
            "context_length": settings.text.context,
            "vocab_size": tokenizer.get_vocab_size(),
            "width": settings.text.width,
            "heads": settings.text.heads,
            "layers": settings.text.layers,
        },
    )
    nn.init.normal_(clip.token_embedding.weight, std=settings.text.spread)
    head = heads.build(
        settings.head.architecture, settings.dimensions, settings.frames, settings.head.layers, settings.head.init
    )
    model = VideoTextModel(clip, head, tokenizer, frames=settings.frames, mean=settings.mean, std=settings.std)
    return model.to(memory_format=torch.channels_last)


def windows_of(items: Tensor, frames: int) -> Tensor:
    """All windows of `frames` consecutive items: [b, n, D] -> [b, n - frames + 1, frames, D], a view."""
    return items.unfold(1, frames, 1).transpose(-1, -2)
