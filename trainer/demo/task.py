"""The demo model's task: windows of rendered streams against captions, names and the words of single frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from trainer.demo.batches import Batch
from trainer.models.text.texts import BACKGROUNDS
from trainer.models.video_text import VideoTextModel, windows_of
from trainer.recipes.loss import Loss
from trainer.scenes.vocabulary import COLOURS, KEYS
from trainer.training.losses import label_cross_entropy, multi_positive_kl, scaled_cosines, soft_cross_entropy
from trainer.training.tasks import Task

_ACTIONS, _BACKGROUNDS = len(KEYS), len(BACKGROUNDS)


@dataclass(frozen=True)
class _Truth:
    """A batch's truth on the device, one row per window."""

    mass: Tensor
    undecided: Tensor
    positives: Tensor
    open: Tensor


class Readouts(nn.Module):
    """Linear readouts of single frames: the action, and the colour of whoever acts.

    Against an untrained image tower, a contrastive loss pulls all texts together. After a few hundred steps on these
    readouts alone, pictures differ enough for the texts to learn from.
    """

    def __init__(self, dimensions: int):
        super().__init__()
        self.action = nn.Linear(dimensions, _ACTIONS + 1)
        self.colour = nn.Linear(dimensions, len(COLOURS))

    def forward(self, items: Tensor, mass: Tensor, colours: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Items [n, D] with the shares of actions [n, A + 1] and colours [n, C] to the losses and the share right."""
        actions = self.action(items)
        losses = {
            "word_action": soft_cross_entropy(actions, mass),
            "word_colour": soft_cross_entropy(self.colour(items), colours),
        }
        return losses, _share_right(actions, mass)


class SceneTask(Task):
    """ActionCLIP's contrast of windows with captions, and the cross-entropy that serving's scoring rule implies."""

    def __init__(self, model: VideoTextModel, weights: Loss):
        super().__init__(model, weights)
        self.readouts = Readouts(model.dimensions)

    def extra_parameters(self) -> list[nn.Parameter]:
        """Parameters of the readouts."""
        return list(self.readouts.parameters())

    def forward(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses and a report, as `Task` says."""
        device = self.model.device
        items = self.items(batch.images)
        words, right = self.readouts(
            items.flatten(0, 1),
            torch.from_numpy(batch.frame_mass).to(device, non_blocking=True).flatten(0, 1),
            torch.from_numpy(batch.frame_colours).to(device, non_blocking=True).flatten(0, 1),
        )
        words = {name: self.weights.words * loss for name, loss in words.items()}
        if not batch.tokens.size:
            return words, {"accuracy": right.detach()}
        losses, report = self._contrast(batch, items, device)
        return losses | words, report | {"word_accuracy": right.detach()}

    def _contrast(
        self, batch: Batch, items: Tensor, device: torch.device
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        windows = windows_of(items, batch.frames).flatten(0, 1)
        texts = self.texts(batch.tokens)
        truth = _truth(batch, device)
        if batch.frames == 1:
            pooled = nn.functional.normalize(windows[:, 0], dim=-1)
            losses, report = self._losses(pooled, texts, truth, "frame")
            return losses, report
        head, pooled = self.model.embed_windows(windows)
        losses, report = self._losses(head, texts, truth, "head")
        if self.weights.pooled:
            extra, _ = self._losses(pooled, texts, truth, "pooled")
            losses |= {name: self.weights.pooled * loss for name, loss in extra.items()}
        return losses, report

    def _losses(
        self, embeddings: Tensor, texts: Tensor, truth: _Truth, name: str
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        logits = scaled_cosines(self.model.scale, embeddings, texts)
        rows, columns = multi_positive_kl(logits, truth.positives, truth.open, leak=self.weights.leak)
        actions, backgrounds = logits[:, :_ACTIONS], logits[:, -_BACKGROUNDS:]
        label = label_cross_entropy(actions, backgrounds, truth.mass[:, :-1], truth.mass[:, -1], truth.undecided)
        losses = {
            f"{name}_contrast": self.weights.contrast * 0.5 * (rows + columns),
            f"{name}_label": self.weights.label * label,
        }
        with torch.no_grad():
            scores = torch.cat((actions, backgrounds.logsumexp(dim=-1, keepdim=True)), dim=-1)
            report = {"accuracy": _share_right(scores, truth.mass), "scale": self.model.scale.detach()}
        return losses, report


def _share_right(scores: Tensor, mass: Tensor) -> Tensor:
    """Of the rows that clearly show one thing, the share that scores it highest; both [n, A + 1]."""
    clear = mass.amax(dim=-1) > 0.75
    right = (scores.argmax(dim=-1) == mass.argmax(dim=-1)) & clear
    return right.sum() / clear.sum().clamp_min(1)


def _truth(batch: Batch, device: torch.device) -> _Truth:
    def moved(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(device, non_blocking=True).flatten(0, 1)

    none_of_it = np.repeat(batch.background[..., None], _BACKGROUNDS, axis=-1)
    # Background texts are open where an action begins or ends: those windows show neither clearly.
    edge = np.repeat((~batch.background & (batch.mass[..., -1] > 0))[..., None], _BACKGROUNDS, axis=-1)
    return _Truth(
        mass=moved(batch.mass),
        undecided=moved(batch.undecided),
        positives=moved(np.concatenate((batch.positives, none_of_it), axis=-1)),
        open=moved(np.concatenate((batch.open, edge), axis=-1)),
    )
