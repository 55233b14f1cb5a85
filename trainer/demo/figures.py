"""Figures of the demo model: top-1 over captions, and events found in streams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.calibration.detection import Series, Tally
from trainer.calibration.threshold_search import fit
from trainer.demo import phrases, targets
from trainer.demo.encoded_footage import in_parts
from trainer.demo.footage import Footage, Stretch
from trainer.demo.phrases import Fact
from trainer.evaluation.protocols import probabilities, text_embeddings
from trainer.models.text.templates import TEMPLATES
from trainer.models.text.texts import BACKGROUNDS
from trainer.models.video_text import VideoTextModel, windows_of
from trainer.recipe import Recipe, Targets
from trainer.scenes.vocabulary import HELD_OUT, KEYS


@torch.inference_mode()
def window_embeddings(model: VideoTextModel, footage: Footage, stretch: Stretch) -> tuple[Tensor, Tensor]:
    """Head and pooled embeddings of all windows of a stretch, float32 [n, D]; every frame is encoded once."""
    items = model.items(torch.cat(list(in_parts(model, footage.pictures(stretch, 0, stretch.ticks)))))
    return model.embed_windows(windows_of(items[None], model.frames)[0])


@dataclass(frozen=True)
class Bank:
    """Embeddings of the names (all templates) and of the background texts, and the scale."""

    labels: Tensor
    backgrounds: Tensor
    scale: float


def bank(model: VideoTextModel) -> Bank:
    """The text bank of the trained action names."""
    names = [phrases.canonical(Fact(key)) for key in KEYS]
    return Bank(
        labels=text_embeddings(model, names, TEMPLATES),
        backgrounds=text_embeddings(model, BACKGROUNDS)[0],
        scale=float(model.scale.detach()),
    )


def clip_report(model: VideoTextModel, footage: Footage, rules: Targets) -> dict[str, float]:
    """Top-1 over clips: actions, and composed captions among the held-out and among all pairs of colour and action.

    A clip's score is the mean over its windows that show the action for at least 0.6 of the shorter of both.
    """
    facts = phrases.coloured_facts()
    everyone = text_embeddings(model, [phrases.canonical(fact) for fact in facts], TEMPLATES)
    everyone = torch.nn.functional.normalize(everyone.mean(dim=0), dim=-1)
    held = torch.tensor([HELD_OUT[fact.key] == fact.actor for fact in facts], device=everyone.device)
    names = bank(model)
    counts = {"actions": 0, "held_out_pairs": 0, "all_pairs": 0}
    for stretch in footage.stretches:
        clip = _shown(model, footage, stretch, rules)
        want = facts.index(_stated(stretch))
        similar = (names.scale * clip @ everyone.t()).softmax(dim=-1).mean(dim=0)
        counts["all_pairs"] += int(similar.argmax()) == want
        counts["held_out_pairs"] += int((similar * held).argmax()) == want
        action = probabilities(clip, names.labels, names.backgrounds, names.scale).mean(axis=0).argmax()
        counts["actions"] += KEYS[int(action)] == facts[want].key
    return {name: count / len(footage.stretches) for name, count in counts.items()}


def _stated(stretch: Stretch) -> Fact:
    key, _, _, who = _main(stretch)
    return Fact(key, who[0])


def _main(stretch: Stretch) -> tuple[str, float, float, tuple[str | None, ...]]:
    """The event nearest to the middle of a clip: the one it was drawn around."""
    middle = 0.5 * stretch.ticks / stretch.rate
    return min(stretch.rows, key=lambda row: abs(0.5 * (row[1] + row[2]) - middle))


def _shown(model: VideoTextModel, footage: Footage, stretch: Stretch, rules: Targets) -> Tensor:
    head, _ = window_embeddings(model, footage, stretch)
    last = stretch.seconds(np.arange(model.frames - 1, stretch.ticks))
    key, start, end, who = _main(stretch)
    ends = last + (0.5 - rules.last) / stretch.rate
    length = (model.frames - rules.first - rules.last) / stretch.rate
    share = targets.overlaps(ends, length, targets.events_of([(key, start, end, who)]))
    chosen = share[:, 0] >= min(0.6, share.max())
    return head[torch.from_numpy(chosen).to(head.device)]


def stream_series(model: VideoTextModel, footage: Footage) -> list[Series]:
    """Scores of the trained names over every stream of the footage."""
    names = bank(model)
    found = []
    for stretch in footage.stretches:
        head, _ = window_embeddings(model, footage, stretch)
        truth: dict[int, list[tuple[float, float]]] = {}
        for key, start, end, _ in stretch.rows:
            truth.setdefault(KEYS.index(key), []).append((start, end))
        found.append(
            Series(
                seconds=stretch.seconds(np.arange(model.frames - 1, stretch.ticks)),
                scores=probabilities(head, names.labels, names.backgrounds, names.scale),
                truth=truth,
                length=stretch.ticks / stretch.rate,
            )
        )
    return found


def report_of(recipe: Recipe, model: VideoTextModel, footage: dict[str, Footage]) -> dict[str, float]:
    """Figures of a model: top-1 over clips, and event F1 with thresholds fitted on the other half of the streams."""
    result = {
        f"{name}_{key}": value
        for name in ("seen", "unseen")
        for key, value in clip_report(model, footage[name], recipe.targets).items()
    }
    series = stream_series(model, footage["streams"])
    halves = series[0::2], series[1::2]
    rate, rules = recipe.data.rate, recipe.targets
    lag = (rules.last + 0.5 * (recipe.model.frames - rules.first - rules.last)) / rate
    fits = [fit(half, rate, lag=lag, window=recipe.model.frames / rate) for half in halves]
    crossed = [fits[0].tallies(halves[1], rate), fits[1].tallies(halves[0], rate)]
    by_label = [one + other for one, other in zip(*crossed, strict=True)]
    total = sum(by_label, Tally())
    result |= {f"f1_{key}": tally.f1 for key, tally in zip(KEYS, by_label, strict=True)}
    result["event_f1"] = total.f1
    result["top8_f1"] = _pooled(sorted(by_label, key=lambda tally: -tally.f1)[:8])
    if total.delays:  # otherwise the median is NaN, which JSON cannot hold
        result["onset_delay_median_s"] = float(torch.tensor(total.delays).median())
    result["onset_lag_s"], result["offset_lag_s"] = fits[0].onset_lag, fits[0].offset_lag
    return result


def _pooled(tallies: list[Tally]) -> float:
    return sum(tallies, Tally()).f1
