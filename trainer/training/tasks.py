"""Model and loss together: a batch in, losses and a report out. The loop knows neither CLIP nor heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.data.batches import ClipBatch
from trainer.models.video_text import VideoTextModel
from trainer.recipe import Loss
from trainer.training.losses import multi_positive_kl, scaled_cosines


class ClipTask(nn.Module):
    """ActionCLIP's own training: clips against their captions, those of one label being positives of each other."""

    def __init__(self, model: VideoTextModel, weights: Loss):
        super().__init__()
        self.model = model
        self.weights = weights

    def forward(self, batch: ClipBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses (already weighted) and a report of scalars, as `Task` gives them."""
        device = self.model.mean.device
        images = torch.from_numpy(batch.images).to(device, non_blocking=True)
        items = self.model.encode_frames(images.flatten(0, 1)).float().unflatten(0, images.shape[:2])
        texts = self.model.encode_text(torch.from_numpy(batch.tokens).to(device, non_blocking=True))
        labels = torch.from_numpy(batch.labels).to(device, non_blocking=True)
        if items.shape[1] == 1:
            embeddings = nn.functional.normalize(items[:, 0], dim=-1)
        else:
            embeddings = self.model.embed_windows(items)[0]
        logits = scaled_cosines(self.model.scale, embeddings, texts)
        rows, columns = multi_positive_kl(logits, labels[:, None] == labels, leak=self.weights.leak)
        right = labels[logits.argmax(dim=-1)] == labels
        losses = {"contrast": self.weights.contrast * 0.5 * (rows + columns)}
        return losses, {"accuracy": right.float().mean(), "scale": self.model.scale.detach()}
