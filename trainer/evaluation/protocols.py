"""Evaluation protocols of the papers, over clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.data.cache import Clips
from trainer.data.items import EncodedClips
from trainer.errors import RecipeError
from trainer.models.text.templates import fill
from trainer.models.video_text import VideoTextModel

_TEXTS_AT_ONCE = 256  # a bank of four hundred labels has 6400 texts

Floats = npt.NDArray[np.float64]


Fold = npt.NDArray[np.int64]
"""Indices of the clips that one fold keeps apart."""


def leave_groups_out(groups: Sequence[str]) -> list[Fold]:
    """A fold per group, in alphabetical order: each group is kept apart once, whole."""
    return [np.flatnonzero(np.array(groups) == group) for group in sorted(set(groups))]


def stratified_folds(labels: Sequence[int], groups: Sequence[str], count: int, seed: int) -> list[Fold]:
    """`count` folds that keep groups whole and spread labels evenly (sklearn's StratifiedGroupKFold)."""
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    return [np.asarray(test) for _, test in splitter.split(np.zeros(len(labels)), labels, groups)]


def out_of_fold(count: int, folds: Sequence[Fold], scores: Callable[[Fold], Floats]) -> Floats:
    """Scores [count, A] of all clips, each from a model that saw no clip of its fold.

    scores: called with the clips of a fold, gives [len(fold), A] by what it learns from all the others.
    Raises ValueError where the folds do not name each clip once.
    """
    if sorted(np.concatenate(folds).tolist()) != list(range(count)):
        raise ValueError(f"the folds do not name each of {count} clips once")
    parts = [np.asarray(scores(fold), np.float64) for fold in folds]
    found = np.zeros((count, parts[0].shape[1]))
    for fold, part in zip(folds, parts, strict=True):
        found[fold] = part
    return found


def classified(scores: Floats, labels: Sequence[int]) -> dict[str, float]:
    """Top-1, balanced accuracy and, of two labels, the area under the curve of the first one, of scores [n, A]."""
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    known, chosen = np.asarray(labels), scores.argmax(axis=1)
    figures = {
        "top1": float(np.mean(chosen == known)),
        "balanced": float(balanced_accuracy_score(known, chosen)),
    }
    if scores.shape[1] == 2:
        figures["auc"] = float(roc_auc_score(known == 0, scores[:, 0]))
    return figures


@torch.inference_mode()
def text_embeddings(model: VideoTextModel, texts: Sequence[str], templates: Sequence[str] = ("{}",)) -> Tensor:
    """Embeddings of texts in each template: float32 [P, len(texts), D]."""
    filled = [fill(template, text) for template in templates for text in texts]
    parts = [
        model.encode_text(model.tokens(filled[at : at + _TEXTS_AT_ONCE])).float()
        for at in range(0, len(filled), _TEXTS_AT_ONCE)
    ]
    embeddings = torch.cat(parts)
    return embeddings.view(len(templates), len(texts), embeddings.shape[-1])


@torch.inference_mode()
def label_bank(model: VideoTextModel, labels: Sequence[str]) -> Tensor:
    """What clips are compared with: float32 [P, C, D] of length one, texts or (P = 1) learned vectors.

    Raises RecipeError for labels that a model without texts was not trained on.
    """
    if not isinstance(model.bank, torch.nn.Embedding):
        return text_embeddings(model, labels, model.templates)
    if unknown := [label for label in labels if label not in model.labels]:
        raise RecipeError(f"the model has learned vectors for its labels alone (model.bank), not for {unknown[0]!r}")
    rows = model.bank.weight[[model.labels.index(label) for label in labels]]
    return torch.nn.functional.normalize(rows.float(), dim=-1)[None]


def probabilities(embeddings: Tensor, labels: Tensor, backgrounds: Tensor, scale: float) -> Floats:
    """Probabilities of the trained names by serving's rule (ARCHITECTURE 3e), averaged over the templates.

    A softmax over names and background texts. embeddings [n, D], labels [P, A, D], backgrounds [R, D] -> [n, A].
    """
    background = (embeddings @ backgrounds.t()).expand(len(labels), -1, -1)
    logits = scale * torch.cat((embeddings @ labels.mT, background), dim=-1)
    return logits.softmax(dim=-1)[..., : labels.shape[1]].mean(dim=0).double().cpu().numpy()


@torch.inference_mode()
def labelled_report(
    model: VideoTextModel, clips: Clips | EncodedClips, chosen: Sequence[int], labels: Sequence[str], sampling: str
) -> dict[str, float]:
    """Top-1 among all labels over the chosen clips: those of validation, or of training where there are none.

    ActionCLIP's rule: one view, probabilities averaged over the templates.
    """
    bank = label_bank(model, labels)
    right = 0
    for clip in chosen:
        given = torch.from_numpy(clips.sample(clip, model.frames, sampling)).to(model.device)
        head, _ = model.embed_windows(model.window_items(given[None]))
        shares = (model.scale * head @ bank.mT).softmax(dim=-1).mean(dim=0)
        right += int(shares.argmax()) in clips.label_sets[clip]
    name = "clips_top1" if clips.of("validate") else "clips_top1_trained"
    return {name: right / len(chosen), "clips": float(len(chosen))}
