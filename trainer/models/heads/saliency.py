"""Pooling by the words of a label (BIKE): frames that show a word count more. It has no parameters."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 0.01


def saliency(items: Tensor, words: Tensor, used: Tensor) -> Tensor:
    """How much each frame counts for each label: [n, C, T], which sums to one over T.

    items [n, T, D]: frame embeddings; words [C, K, D]: what the text tower says at the tokens of each label; used
    [C, K]: which of them are tokens of the label. The mean over the words of softmax_t(cos(word, frame) / 0.01).
    """
    cosines = torch.einsum("ckd,ntd->nckt", F.normalize(words, dim=-1), F.normalize(items, dim=-1))
    shares = (cosines / TEMPERATURE).softmax(dim=-1)
    counted = used.to(shares)[None, :, :, None]
    return (shares * counted).sum(dim=2) / counted.sum(dim=2).clamp_min(1)


def salient_cosines(items: Tensor, words: Tensor, used: Tensor, labels: Tensor) -> Tensor:
    """Cosines [n, C] of each label [C, D] with the frames [n, T, D] pooled by that label's own words."""
    pooled = torch.einsum("nct,ntd->ncd", saliency(items, words, used), items)
    return (F.normalize(pooled, dim=-1) * F.normalize(labels, dim=-1)).sum(dim=-1)
