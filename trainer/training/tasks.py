"""Tasks: model and losses together, so that the loop knows neither CLIP nor heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.data.batches import ClipBatch
from trainer.models.video_text import VideoTextModel
from trainer.recipe import Loss
from trainer.training.losses import multi_positive_kl, scaled_cosines


class Task(nn.Module):
    """A model and its losses.

    Called with a batch of its source, a task gives the losses (already weighted; their sum is to be minimised) and a
    report of scalars for the log, both by name.
    """

    def __init__(self, model: VideoTextModel, weights: Loss):
        super().__init__()
        self.model = model
        self.weights = weights

    def extra_parameters(self) -> list[nn.Parameter]:
        """Parameters beside the model's, which are dropped after training."""
        return []


class ClipTask(Task):
    """ActionCLIP's training: clips against captions, where clips and captions of one label are positives."""

    def forward(self, batch: ClipBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses and a report, as `Task` says."""
        device = self.model.device
        images = torch.from_numpy(batch.images).to(device, non_blocking=True)
        items = self.model.encode_frames(images.flatten(0, 1)).float().view(*images.shape[:2], -1)
        texts = self.model.encode_text(torch.from_numpy(batch.tokens).to(device, non_blocking=True))
        labels = torch.from_numpy(batch.labels).to(device, non_blocking=True)
        if items.shape[1] == 1:
            embeddings = nn.functional.normalize(items[:, 0], dim=-1)
        else:
            embeddings = self.model.embed_windows(items)[0]
        logits = scaled_cosines(self.model.scale, embeddings, texts)
        matches = torch.from_numpy(batch.matches).to(device, non_blocking=True)
        rows, columns = multi_positive_kl(logits, matches, leak=self.weights.leak)
        right = labels[logits.argmax(dim=-1)] == labels
        losses = {"contrast": self.weights.contrast * 0.5 * (rows + columns)}
        return losses, {"accuracy": right.float().mean(), "scale": self.model.scale.detach()}
