"""How well a class is recognised from a few examples: one row for each way to compare, over the same episodes.

CLIP-FSAR (section 4), and the rows that it has to beat: the text alone, and plain cosines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.data.episodes import Episode, EpisodeSampler
from trainer.models.few_shot.modulation import Modulation, merged
from trainer.models.few_shot.otam import alignment_distances

ROWS = ("text", "mean_cosine", "frame_cosine", "modulation", "alignment", "ensemble")
"""Text alone; the mean item; frames at the same place; the same after the modulation; with alignment; with the text."""
BETAS = tuple(round(0.1 * step, 1) for step in range(11))

_AT_ONCE = 128


@dataclass(frozen=True)
class Shown:
    """What is known of clips without a picture: items, and a text for each label."""

    items: Tensor
    """float32 [n, T, D], not normalised."""
    texts: Tensor
    """float32 [A, D], not normalised: one for each label."""


@dataclass(frozen=True)
class Metric:
    """How windows and examples are compared."""

    modulation: Modulation
    scale: float
    """Of the cosines with texts, as exp(logit scale)."""


Scores = Mapping[str, Tensor]
"""Logits [episodes, N * Q, N] by row, but of the ensemble, which needs a beta."""


@torch.no_grad()
def episode_scores(metric: Metric, shown: Shown, episodes: Sequence[Episode]) -> Scores:
    """The logits of some episodes of one form, whose queries stand class by class."""
    supports = shown.items[_stacked(episodes, "supports")]  # [E, N, K, T, D]
    queries = shown.items[_stacked(episodes, "queries")].flatten(1, 2)  # [E, N * Q, T, D]
    texts = shown.texts[_stacked(episodes, "classes")]  # [E, N, D]
    prototypes = merged(supports)
    metric.modulation.eval()
    seen = metric.modulation.queries(queries.flatten(0, 1)).view_as(queries)
    taught = metric.modulation.prototypes(prototypes.flatten(0, 1), texts.flatten(0, 1))
    taught = taught.view_as(prototypes)
    frames = queries.shape[2]
    return {
        "text": metric.scale * _cosines(queries.mean(dim=2), texts),
        "mean_cosine": _cosines(queries.mean(dim=2), prototypes.mean(dim=2)),
        "frame_cosine": _frame_cosines(queries, prototypes),
        "modulation": _frame_cosines(seen, taught),
        "alignment": -alignment_distances(seen, taught, metric.modulation.smoothing) / frames,
    }


def blended(text: Tensor, examples: Tensor, beta: float) -> Tensor:
    """`p_text^beta * p_examples^(1 - beta)` as logarithms, not normalised: [..., N] of both experts' logits."""
    return beta * text.log_softmax(dim=-1) + (1 - beta) * examples.log_softmax(dim=-1)


def tuned_beta(metric: Metric, shown: Shown, episodes: EpisodeSampler, count: int) -> float:
    """The beta of the ensemble that recognises most over `count` episodes of validation; of equal ones the middle."""
    found = _all_scores(metric, shown, episodes, count)
    rights = np.array([float(_right(blended(found["text"], found["alignment"], beta)).mean()) for beta in BETAS])
    best = np.flatnonzero(rights >= rights.max() - 1e-9)
    return BETAS[int(best[len(best) // 2])]


def measure(metric: Metric, shown: Shown, episodes: EpisodeSampler, count: int, beta: float) -> dict[str, float]:
    """Shares of queries recognised over `count` episodes, by row."""
    found = _all_scores(metric, shown, episodes, count)
    rows = {**found, "ensemble": blended(found["text"], found["alignment"], beta)}
    return {name: float(_right(rows[name]).mean()) for name in ROWS}


def frame_cosine(items: Tensor, episodes: EpisodeSampler, count: int) -> float:
    """Share of queries recognised by frame-wise cosines of any items [n, T, F]: the row that has to be beaten."""
    drawn = [episodes.draw(number) for number in range(count)]
    queries = items[_stacked(drawn, "queries")].flatten(1, 2)
    return float(_right(_frame_cosines(queries, merged(items[_stacked(drawn, "supports")]))).mean())


def _all_scores(metric: Metric, shown: Shown, episodes: EpisodeSampler, count: int) -> dict[str, Tensor]:
    parts = [
        episode_scores(metric, shown, [episodes.draw(number) for number in range(at, min(at + _AT_ONCE, count))])
        for at in range(0, count, _AT_ONCE)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _right(logits: Tensor) -> Tensor:
    """Which queries are recognised, float64 [episodes, N * Q]."""
    ways = logits.shape[-1]
    truth = torch.arange(ways).repeat_interleave(logits.shape[1] // ways)
    return (logits.argmax(dim=-1) == truth).double()


def _cosines(left: Tensor, right: Tensor) -> Tensor:
    return F.normalize(left, dim=-1) @ F.normalize(right, dim=-1).mT


def _frame_cosines(queries: Tensor, prototypes: Tensor) -> Tensor:
    left, right = F.normalize(queries, dim=-1), F.normalize(prototypes, dim=-1)
    return torch.einsum("eqtd,entd->eqn", left, right) / queries.shape[2]


def _stacked(episodes: Sequence[Episode], part: str) -> npt.NDArray[np.int64]:
    return np.stack([getattr(episode, part) for episode in episodes])
