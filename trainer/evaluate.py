"""What a model can do, measured: top-1 over clips and captions, and events found in streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer import prompts, targets
from trainer.config import Targets
from trainer.detection import Series
from trainer.footage import Footage, Stretch
from trainer.items import in_parts
from trainer.labelled import Clips
from trainer.model import VideoTextModel, windows_of
from trainer.prompts import Fact
from trainer.scenes.vocabulary import HELD_OUT, KEYS

Floats = npt.NDArray[np.float64]


@torch.inference_mode()
def text_embeddings(model: VideoTextModel, texts: Sequence[str], templates: Sequence[str] = ("{}",)) -> Tensor:
    """Embeddings of texts in each template: float32 [P, len(texts), D]."""
    filled = [prompts.fill(template, text) for template in templates for text in texts]
    return model.encode_text(model.tokens(filled)).float().unflatten(0, (len(templates), len(texts)))


@torch.inference_mode()
def window_embeddings(model: VideoTextModel, footage: Footage, stretch: Stretch) -> tuple[Tensor, Tensor]:
    """Head and pooled embeddings of all windows of a stretch, float32 [n, D]; every frame is encoded once."""
    items = torch.cat(list(in_parts(model, footage.pictures(stretch, 0, stretch.ticks))))
    return model.embed_windows(windows_of(items[None], model.frames)[0])


def probabilities(embeddings: Tensor, labels: Tensor, backgrounds: Tensor, scale: float) -> Floats:
    """Serving's rule for the trained names (ARCHITECTURE 3e): softmax over names and background texts, averaged over
    templates. embeddings [n, D], labels [P, A, D], backgrounds [R, D] -> [n, A].
    """
    background = (embeddings @ backgrounds.t()).expand(len(labels), -1, -1)
    logits = scale * torch.cat((embeddings @ labels.mT, background), dim=-1)
    return logits.softmax(dim=-1)[..., : labels.shape[1]].mean(dim=0).double().cpu().numpy()


@dataclass(frozen=True)
class Bank:
    """Embeddings of the names (all templates) and of the background texts, and the scale."""

    labels: Tensor
    backgrounds: Tensor
    scale: float


def bank(model: VideoTextModel) -> Bank:
    """The text bank of the trained action names."""
    names = [prompts.canonical(Fact(key)) for key in KEYS]
    return Bank(
        labels=text_embeddings(model, names, prompts.TEMPLATES),
        backgrounds=text_embeddings(model, prompts.BACKGROUNDS)[0],
        scale=float(model.scale.detach()),
    )


def clip_report(model: VideoTextModel, footage: Footage, rules: Targets) -> dict[str, float]:
    """Top-1 over clips: actions, and composed captions among the held-out and among all pairs of colour and action.

    A clip's score is the mean over its windows that show the action for at least 0.6 of the shorter of both.
    """
    facts = prompts.coloured_facts()
    everyone = text_embeddings(model, [prompts.canonical(fact) for fact in facts], prompts.TEMPLATES)
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


@torch.inference_mode()
def labelled_report(model: VideoTextModel, clips: Clips, labels: Sequence[str], sampling: str) -> dict[str, float]:
    """Top-1 over a user's clips among all labels: those to validate on, or those trained on where there are none.

    ActionCLIP's rule: one view, probabilities averaged over the templates.
    """
    device = model.mean.device
    bank = text_embeddings(model, labels, prompts.TEMPLATES)
    apart = clips.of("validate")
    chosen = apart or clips.of("train")
    right = 0
    for clip in chosen:
        pictures = torch.from_numpy(clips.sample(clip, model.frames, sampling)).to(device)
        head, _ = model.embed_windows(model.encode_frames(pictures).float()[None])
        shares = (model.scale * head @ bank.mT).softmax(dim=-1).mean(dim=0)
        right += int(shares.argmax()) == clips.labels[clip]
    name = "clips_top1" if apart else "clips_top1_trained"
    return {name: right / len(chosen), "clips": float(len(chosen))}


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
