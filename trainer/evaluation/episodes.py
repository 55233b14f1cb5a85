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
from trainer.models.few_shot.comparison import Fitted, frame_wise_distances
from trainer.models.few_shot.modulation import merged
from trainer.models.few_shot.otam import alignment_distances

ROWS = ("text", "mean_cosine", "frame_cosine", "modulation", "alignment", "whitened", "ensemble")
"""Text alone; the mean item; frames at the same place; the same after the modulation; with alignment; frames and motion
whitened, without a modulation; what a bundle would compare (`model.few_shot.matching`) with the text."""
BETAS = tuple(round(0.1 * step, 1) for step in range(11))
TEMPERATURES = tuple(float(value) for value in np.geomspace(1e-3, 10, 41).round(5))

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

    comparison: Fitted
    scale: float
    """Of the cosines with texts, as exp(logit scale)."""


@dataclass(frozen=True)
class Blend:
    """How distances become probabilities, and how these join those of the text."""

    temperature: float
    """A distance larger by this much counts e times less."""
    beta: float
    """Weight of the text: 1 is the text alone."""


Scores = Mapping[str, Tensor]
"""Logits [episodes, N * Q, N] by row, but of the ensemble, which needs a blend."""


@torch.no_grad()
def episode_scores(metric: Metric, shown: Shown, episodes: Sequence[Episode]) -> Scores:
    """The logits of some episodes of one form, whose queries stand class by class."""
    supports = shown.items[_stacked(episodes, "supports")]  # [E, N, K, T, D]
    queries = shown.items[_stacked(episodes, "queries")].flatten(1, 2)  # [E, N * Q, T, D]
    texts = shown.texts[_stacked(episodes, "classes")]  # [E, N, D]
    prototypes = merged(supports)
    comparison = metric.comparison
    modulation = comparison.modulation
    seen = modulation.queries(queries.flatten(0, 1)).view_as(queries)
    taught = modulation.prototypes(prototypes.flatten(0, 1), texts.flatten(0, 1)).view_as(prototypes)
    whitened = [comparison.whitened(part) for part in (queries, prototypes)]
    return {
        "text": metric.scale * _cosines(queries.mean(dim=2), texts),
        "mean_cosine": _cosines(queries.mean(dim=2), prototypes.mean(dim=2)),
        "frame_cosine": -frame_wise_distances(queries, prototypes),
        "modulation": -frame_wise_distances(seen, taught),
        "alignment": -alignment_distances(seen, taught, modulation.smoothing),
        "whitened": -frame_wise_distances(*whitened),
    }


def blended(text: Tensor, examples: Tensor, beta: float) -> Tensor:
    """`p_text^beta * p_examples^(1 - beta)` as logarithms, not normalised: [..., N] of both experts' logits."""
    return beta * text.log_softmax(dim=-1) + (1 - beta) * examples.log_softmax(dim=-1)


def tuned(metric: Metric, shown: Shown, episodes: EpisodeSampler, count: int) -> Blend:
    """The blend that fits `count` episodes of validation.

    The temperature is the likeliest for the examples alone; beta recognises most, and of equal ones is the middle.
    """
    found = _all_scores(metric, shown, episodes, count)
    examples = found[metric.comparison.matching]
    surprise = [float(_surprise(examples / temperature)) for temperature in TEMPERATURES]
    temperature = TEMPERATURES[int(np.argmin(surprise))]
    rights = np.array([_right(blended(found["text"], examples / temperature, beta)).mean().item() for beta in BETAS])
    best = np.flatnonzero(rights >= rights.max() - 1e-9)
    return Blend(temperature, BETAS[int(best[len(best) // 2])])


def measure(metric: Metric, shown: Shown, episodes: EpisodeSampler, count: int, blend: Blend) -> dict[str, float]:
    """Shares of queries recognised over `count` episodes, by row."""
    found = _all_scores(metric, shown, episodes, count)
    examples = found[metric.comparison.matching] / blend.temperature
    rows = {**found, "ensemble": blended(found["text"], examples, blend.beta)}
    return {name: float(_right(rows[name]).mean()) for name in ROWS}


def frame_cosine(items: Tensor, episodes: EpisodeSampler, count: int) -> float:
    """Share of queries recognised by frame-wise cosines of any items [n, T, F]: the row that has to be beaten."""
    drawn = [episodes.draw(number) for number in range(count)]
    queries = items[_stacked(drawn, "queries")].flatten(1, 2)
    prototypes = merged(items[_stacked(drawn, "supports")])
    return float(_right(-frame_wise_distances(queries, prototypes)).mean())


def _all_scores(metric: Metric, shown: Shown, episodes: EpisodeSampler, count: int) -> dict[str, Tensor]:
    parts = [
        episode_scores(metric, shown, [episodes.draw(number) for number in range(at, min(at + _AT_ONCE, count))])
        for at in range(0, count, _AT_ONCE)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _right(logits: Tensor) -> Tensor:
    """Which queries are recognised, float64 [episodes, N * Q]."""
    return (logits.argmax(dim=-1) == _truth(logits)).double()


def _surprise(logits: Tensor) -> Tensor:
    """Mean of minus the logarithm of the right class's share."""
    truth = _truth(logits).expand(logits.shape[:-1]).unsqueeze(-1)
    return -logits.log_softmax(dim=-1).gather(-1, truth).double().mean()


def _truth(logits: Tensor) -> Tensor:
    """[N * Q]: queries stand class by class."""
    ways = logits.shape[-1]
    return torch.arange(ways).repeat_interleave(logits.shape[1] // ways)


def _cosines(left: Tensor, right: Tensor) -> Tensor:
    return F.normalize(left, dim=-1) @ F.normalize(right, dim=-1).mT


def _stacked(episodes: Sequence[Episode], part: str) -> npt.NDArray[np.int64]:
    return np.stack([getattr(episode, part) for episode in episodes])
