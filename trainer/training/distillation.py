"""Distillation to the frozen start: what is trained stays close to what it knew before (FROSTER)."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.models.video_text import VideoTextModel

_SHARE = 0.1


class Residual(nn.Module):
    """`x + 0.1 W2 GELU(W1 x)`, W2 zero at the start: what may differ from the teacher without a cost."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.last = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.last.weight)

    def forward(self, states: Tensor) -> Tensor:
        """[n, D] -> [n, D]."""
        moved: Tensor = self.last(F.gelu(self.first(states)))
        return states + _SHARE * moved


class Distillation(nn.Module):
    """The towers of the start, which never learn, and the projections by which the learning ones are held to them.

    Built before the first step, from the model as it starts. The teacher is in no checkpoint: a run that goes on builds
    the same start again.
    """

    def __init__(self, model: VideoTextModel):
        super().__init__()
        teacher: Any = copy.deepcopy(model)
        teacher.eval().requires_grad_(False)
        object.__setattr__(self, "teacher", teacher)  # no part of this module: neither saved nor moved to training mode
        self.pictures, self.texts = Residual(model.dimensions), Residual(model.dimensions)

    def forward(self, windows: Tensor, items: Tensor, tokens: Tensor, texts: Tensor) -> Tensor:
        """1 - cosine to the teacher: of the mean of the items of each window and of each text, added.

        windows: pictures [b, T, H, W, 3]; items [b, t, D]: what the learning tower made of them; tokens [b, context]
        and texts [b, D]: the same of captions.
        """
        teacher: VideoTextModel = object.__getattribute__(self, "teacher")
        with torch.no_grad():
            shown = teacher.window_items(windows).mean(dim=1)
            said = teacher.encode_text(tokens)
        off = [
            (1 - F.cosine_similarity(self.pictures(items.mean(dim=1)), shown.float(), dim=-1)).mean(),
            (1 - F.cosine_similarity(self.texts(texts), said.float(), dim=-1)).mean(),
        ]
        return off[0] + off[1]
