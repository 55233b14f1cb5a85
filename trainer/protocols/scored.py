"""Scores of clips: one view of each, or several in time and space."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engines.preprocess import prepare
from trainer.data.cache import Clips
from trainer.data.decode import read_clip
from trainer.data.decoded import Size
from trainer.data.manifest import Clip, checked, scan
from trainer.data.opening import open_clips
from trainer.data.recipe_clips import clips_of
from trainer.errors import RecipeError
from trainer.evaluation.metrics import ClipScores
from trainer.evaluation.protocols import label_bank
from trainer.evaluation.scoring import averaged, per_template
from trainer.models.heads.saliency import salient_cosines
from trainer.models.text.words import word_embeddings
from trainer.protocols.subject import Rule, Subject

Pictures = npt.NDArray[np.uint8]
Scorer = Callable[[Tensor], Tensor]
"""From windows of pictures uint8 [m, T, H, W, 3] to the shares of the labels, [m, C]."""


def scorer(subject: Subject, labels: Sequence[str], rule: Rule) -> Scorer:
    """How windows are scored against labels. Raises RecipeError for a rule that the model cannot follow."""
    model, bank = subject.model, label_bank(subject.model, labels)
    if rule == "saliency":
        if model.kind == "clip":
            raise RecipeError("pooling by words needs an embedding per frame; choose another rule than saliency")
        words, used = word_embeddings(model, labels)
        texts = torch.nn.functional.normalize(bank.sum(dim=0), dim=-1)

        def pooled(windows: Tensor) -> Tensor:
            cosines = salient_cosines(model.window_items(windows), words, used, texts)
            return (model.scale * cosines).softmax(dim=-1)

        return pooled
    shares = per_template if rule == "templates" else averaged
    return lambda windows: shares(model.embed_windows(model.window_items(windows))[0], bank, model.scale)


def listed(subject: Subject, path: Path | None) -> list[Clip]:
    """The clips with labels of a list, or of the run's own: those to test, else to validate, else all of a list.

    Raises RecipeError where the run kept none apart.
    """
    clips = list(checked(scan(path)).clips) if path is not None else clips_of(subject.recipe)
    clips = [clip for clip in clips if not clip.background]
    for split in ("test", "validate"):
        if found := [clip for clip in clips if clip.split == split]:
            return found
    if path is None:
        raise RecipeError(f"the list of {subject.run} kept no clip apart; name one to measure with --list")
    return clips


def labels_in(clips: Sequence[Clip]) -> tuple[str, ...]:
    """The distinct labels of clips, in alphabetical order."""
    return tuple(sorted({label for clip in clips for label in clip.labels}))


@torch.inference_mode()
def single(subject: Subject, clips: Sequence[Clip], labels: Sequence[str], rule: Rule) -> ClipScores:
    """One window of each clip, as its recipe samples them, in the centre. Every clip counts, the last ones too."""
    score, opened = scorer(subject, labels, rule), _opened(subject, clips, labels)
    rows = []
    for index in range(len(opened.clips)):
        sample = opened.sample(index, subject.model.frames, subject.recipe.data.sampling)
        rows.append(score(torch.from_numpy(np.asarray(sample))[None].to(subject.model.device))[0])
        subject.report("score clips", index + 1, len(opened.clips), "")
    return gathered(rows, opened.clips, labels)


def gathered(rows: Sequence[Tensor], clips: Sequence[Clip], labels: Sequence[str]) -> ClipScores:
    """Scores of clips, one row of shares [C] each."""
    truth = np.array([[label in clip.labels for label in labels] for clip in clips])
    shares = torch.stack(list(rows)).double().cpu().numpy()
    return ClipScores(shares, truth, tuple(labels), tuple(clip.place for clip in clips))


def _opened(subject: Subject, clips: Sequence[Clip], labels: Sequence[str]) -> Clips:
    form, data = subject.model.blueprint.form, subject.recipe.data
    size = Size.of(form, data.rate)
    return open_clips(
        clips, labels, subject.cache, size, subject.report, window=subject.model.frames, implied=False, max_skipped=0.0
    )


@torch.inference_mode()
def several_views(
    subject: Subject, clips: Sequence[Clip], labels: Sequence[str], rule: Rule, times: int, crops: int
) -> ClipScores:
    """The mean of the shares over `times` samplings of each clip and `crops` (1 or 3) parts of its pictures."""
    if crops not in (1, 3):
        raise RecipeError(f"{crops} crops are none that were published; choose 1 or 3")
    score, rows = scorer(subject, labels, rule), []
    for index, clip in enumerate(clips):
        views = list(_views(subject, clip, times, crops))
        shares = torch.cat([score(torch.from_numpy(view)[None].to(subject.model.device)) for view in views])
        rows.append(shares.mean(dim=0))
        subject.report("score views", index + 1, len(clips), "")
    return gathered(rows, clips, labels)


def _views(subject: Subject, clip: Clip, times: int, crops: int) -> Iterator[Pictures]:
    """Windows [T, H, W, 3] of a clip: every crop at every sampling in time."""
    form, frames = subject.model.blueprint.form, subject.model.frames
    shown = [
        [np.array(prepare(part, form)) for part in parts_of(picture, form.height / form.width, crops)]
        for seconds, picture in read_clip(Path(clip.path), subject.recipe.data.rate)
        if clip.start <= seconds < clip.until
    ]
    if not shown:
        raise RecipeError(f"{clip.place} shows no picture; take it out of the list")
    for view in range(times):
        indices = view_indices(len(shown), frames, view, times)
        for crop in range(crops):
            yield np.stack([shown[index][crop] for index in indices])


def view_indices(length: int, frames: int, view: int, views: int) -> npt.NDArray[np.int64]:
    """One frame of each of `frames` equal segments, the view-th of `views` places within it; [frames], sorted.

    One view takes the middle of every segment, which is the test rule of a single view.
    """
    if length <= frames:
        return np.arange(frames) * length // frames
    place = (view + 0.5) / views
    return np.minimum(np.floor((np.arange(frames) + place) * length / frames - 0.5 + 1e-9), length - 1).astype(np.int64)


def parts_of(picture: Pictures, ratio: float, count: int) -> list[Pictures]:
    """`count` parts of a picture with that height by width, along its longer side: left, centre, right."""
    height, width = picture.shape[:2]
    down, across = min(height, round(width * ratio)), min(width, round(height / ratio))
    places = [0.5] if count == 1 else [0.0, 0.5, 1.0]
    corners = [(round((height - down) * place), round((width - across) * place)) for place in places]
    return [picture[top : top + down, left : left + across] for top, left in corners]
