"""Losses: ActionCLIP's symmetric KL with several positives, and the cross-entropy that serving's rule implies."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_AWAY = -1e4  # a masked logit: its exp() is zero in float32 and bfloat16 alike
_SHARPNESS = 10.0


def scaled_cosines(scale: Tensor, embeddings: Tensor, texts: Tensor) -> Tensor:
    """Logits float32 [n, m] of embeddings [n, D] and texts [m, D], in full precision even under autocast.

    In bfloat16, neighbouring logits near 100 are half a unit apart.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        return scale.float() * embeddings.float() @ texts.float().t()


def positive_targets(positives: Tensor, *, leak: bool = True) -> Tensor:
    """Target rows of the KL loss (ActionCLIP release).

    positives: 0/1, [n, m]. With `leak` the softmax of ten times the positives, as the release has it: positives share
    the mass, and every negative gets e^-10 of a share. Without `leak`, exact shares; a row without positives is zero.
    """
    positives = positives.float()
    if leak:
        return F.softmax(_SHARPNESS * positives, dim=-1)
    return positives / positives.sum(dim=-1, keepdim=True).clamp_min(1)


def multi_positive_kl(
    logits: Tensor, positives: Tensor, undecided: Tensor | None = None, *, leak: bool = True
) -> tuple[Tensor, Tensor]:
    """KL(Q||P) of rows and of columns, each averaged over those with at least one positive.

    logits: scaled cosines, [n windows, m captions]; positives: 0/1 of the same shape; undecided: pairs that are neither
    positive nor negative and take no part. ActionCLIP's loss is the mean of the two results; there n = m and
    `positives` says which captions have the window's label.
    """
    if undecided is None:
        undecided = torch.zeros_like(positives, dtype=torch.bool)
    return (
        _row_kl(logits, positives, undecided, leak=leak),
        _row_kl(logits.t(), positives.t(), undecided.t(), leak=leak),
    )


def _row_kl(logits: Tensor, positives: Tensor, undecided: Tensor, *, leak: bool) -> Tensor:
    logits = logits.float().masked_fill(undecided, _AWAY)
    target = positive_targets(positives, leak=leak).masked_fill(undecided, 0.0)
    target = target / target.sum(dim=-1, keepdim=True).clamp_min(1e-12)
    decided: Tensor = torch.special.xlogy(target, target) - target * F.log_softmax(logits, dim=-1)
    rows = (positives > 0).any(dim=-1).float()
    return (decided.sum(dim=-1) * rows).sum() / rows.sum().clamp_min(1)


def diagonal_contrast(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of rows and of columns of [n, n], each with its own place as the only right one (mmaction2)."""
    own = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits.float(), own), F.cross_entropy(logits.float().t(), own)


def smoothed(mass: Tensor, share: float) -> Tensor:
    """Targets [n, C] that sum to one, a share of which is spread evenly; rows of zeros stay zero."""
    return (1 - share) * mass + share * mass.sum(dim=-1, keepdim=True) / mass.shape[-1]


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy with targets that sum to one per row, [n, k] both; rows of zeros take no part."""
    losses: Tensor = -(target * F.log_softmax(logits, dim=-1)).sum(dim=-1)
    return losses.sum() / target.sum().clamp_min(1)


def label_cross_entropy(
    actions: Tensor, backgrounds: Tensor, action_mass: Tensor, background_mass: Tensor, undecided: Tensor | None = None
) -> Tensor:
    """Cross-entropy of a window over the action names and the background texts, whose probabilities count together.

    actions: logits [n, A]; backgrounds: logits [n, R]; action_mass [n, A] and background_mass [n]: the targets, which
    sum to one per window, or to zero for windows that take no part; undecided [n, A]: names left out of a window.
    """
    if undecided is not None:
        actions = actions.float().masked_fill(undecided, _AWAY)
    logits = torch.cat((actions.float(), backgrounds.float().logsumexp(dim=-1, keepdim=True)), dim=-1)
    return soft_cross_entropy(logits, torch.cat((action_mass, background_mass.unsqueeze(-1)), dim=-1))
