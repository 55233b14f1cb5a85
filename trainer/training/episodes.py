"""CLIP-FSAR's training: queries against the examples of an episode, and all of its clips against the texts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.data.episode_batches import EpisodeBatch
from trainer.models.few_shot.modulation import merged
from trainer.models.few_shot.otam import alignment_distances
from trainer.models.video_text import VideoTextModel
from trainer.training.losses import scaled_cosines
from trainer.training.tasks import Task

_TEXTS_AT_ONCE = 256


class EpisodesTask(Task):
    """The loss of the paper: video against text, and alpha times the alignment with the examples (section 3.4).

    The text tower rests (the recipe sees to it), so the texts of the classes are embedded once.
    """

    _texts: Tensor | None = None

    def forward(self, batch: EpisodeBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses and a report, as `Task` says."""
        comparison = self.model.few_shot
        assert comparison is not None  # the recipe sees to it
        modulation = comparison.modulation
        if self._texts is None:
            self._texts = raw_texts(self.model, batch.tokens)
        items, texts = self.items(batch.images), self._texts
        classes = torch.from_numpy(batch.classes).to(items.device)
        ways, split = len(classes), len(classes) * batch.shots
        supports, queries = items[:split].view(ways, batch.shots, *items.shape[1:]), items[split:]
        if self.training:
            labels = torch.from_numpy(batch.labels).to(items.device)
            comparison.gather(labels[classes], torch.cat((supports, queries.view(ways, -1, *items.shape[1:])), dim=1))
        of_query = torch.arange(ways, device=items.device).repeat_interleave(len(queries) // ways)
        prototypes = modulation.prototypes(merged(supports), texts[classes])
        distances = alignment_distances(modulation.queries(queries), prototypes, modulation.smoothing)
        shown = torch.cat((classes.repeat_interleave(batch.shots), classes[of_query]))
        pooled = F.normalize(items.mean(dim=1), dim=-1)
        logits = scaled_cosines(self.model.scale, pooled, F.normalize(texts, dim=-1))
        losses = {
            "text": self.weights.contrast * F.cross_entropy(logits, shown),
            "few_shot": self.weights.few_shot * F.cross_entropy(-distances, of_query),
        }
        right = (distances.argmin(dim=-1) == of_query).float().mean()
        return losses, {"accuracy": right, "scale": self.model.scale.detach()}


@torch.no_grad()
def raw_texts(model: VideoTextModel, tokens: npt.NDArray[np.int64]) -> Tensor:
    """Embeddings of texts [A, P, context] as the text network gives them, averaged over P: [A, D], not normalised."""
    rows = torch.from_numpy(tokens).flatten(0, 1)
    parts = [
        model.encode_text(rows[at : at + _TEXTS_AT_ONCE].to(model.device), normalise=False).float()
        for at in range(0, len(rows), _TEXTS_AT_ONCE)
    ]
    return torch.cat(parts).view(*tokens.shape[:2], -1).mean(dim=1)
