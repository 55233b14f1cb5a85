"""Tasks: model and losses together, so that the loop knows neither CLIP nor heads."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trainer.data.batches import ClipBatch
from trainer.models.text.texts import BACKGROUNDS
from trainer.models.video_text import VideoTextModel
from trainer.recipe import Loss
from trainer.training.extras import Outputs, extras_of
from trainer.training.freezing import text_parameters
from trainer.training.losses import label_cross_entropy, multi_positive_kl, scaled_cosines

_TEXTS_AT_ONCE = 256


class Task(nn.Module):
    """A model and its losses.

    Called with a batch of its source, a task gives the losses (already weighted; their sum is to be minimised) and a
    report of scalars for the log, both by name.
    """

    def __init__(self, model: VideoTextModel, weights: Loss, known: dict[bytes, Tensor] | None = None):
        """`known`: embeddings of texts by their token ids, for tasks that share a text tower that does not learn."""
        super().__init__()
        self.model = model
        self.weights = weights
        self._known: dict[bytes, Tensor] = {} if known is None else known

    def extra_parameters(self) -> list[nn.Parameter]:
        """Parameters beside the model's, which are dropped after training."""
        return []

    def items(self, images: npt.NDArray[np.generic]) -> Tensor:
        """Items float32 [b, n, D] of pictures uint8 [b, n, H, W, 3], or of the features [b, n, F] of a frozen tower."""
        return self.model.window_items(torch.from_numpy(images).to(self.model.device, non_blocking=True))

    def texts(self, tokens: npt.NDArray[np.int64]) -> Tensor:
        """Embeddings [n, D] of token ids [n, context]. A text tower that does not learn reads each text once."""
        given = torch.from_numpy(tokens)
        if self._text_learns:
            return self.model.encode_text(given.to(self.model.device, non_blocking=True))
        keys = [row.tobytes() for row in tokens]
        new = [at for at, key in enumerate(keys) if key not in self._known]
        for start in range(0, len(new), _TEXTS_AT_ONCE):
            part = new[start : start + _TEXTS_AT_ONCE]
            with torch.no_grad():
                found = self.model.encode_text(given[part].to(self.model.device)).float()
            self._known |= {keys[at]: embedding for at, embedding in zip(part, found, strict=True)}
        return torch.stack([self._known[key] for key in keys])

    @functools.cached_property
    def _text_learns(self) -> bool:
        """Looked at once: walking through a tower takes as long as a step from cached items."""
        return any(parameter.requires_grad for parameter in text_parameters(self.model))

    @functools.cached_property
    def learning(self) -> list[nn.Parameter]:
        """The parameters that learn, in the order of the model."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]


class ClipTask(Task):
    """ActionCLIP's training: clips against captions, where clips and captions of one label are positives.

    Background is one more such label. Where a batch has some, a second part of the loss scores all of its clips as
    serving does: over the labels, and over all background texts together.
    """

    def __init__(
        self,
        model: VideoTextModel,
        weights: Loss,
        known: dict[bytes, Tensor] | None = None,
        backgrounds: Sequence[str] = (),
    ):
        """`backgrounds`: the user's own texts of what background clips show, beside ours."""
        super().__init__(model, weights, known)
        self._backgrounds = model.tokens([*dict.fromkeys((*BACKGROUNDS, *backgrounds))]).cpu().numpy()
        self._extras = extras_of(model, weights)

    def forward(self, batch: ClipBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses and a report, as `Task` says."""
        device = self.model.device
        items = self.items(batch.images)
        if batch.images.shape[1] == 1:
            embeddings = nn.functional.normalize(items[:, 0], dim=-1)
        else:
            embeddings = self.model.embed_windows(items)[0]
        texts = self.texts(batch.tokens)
        labels = torch.from_numpy(batch.labels).to(device, non_blocking=True)
        matches = torch.from_numpy(batch.matches).to(device, non_blocking=True)

        def contrast(embeddings: Tensor) -> Tensor:
            logits = scaled_cosines(self.model.scale, embeddings, texts)
            rows, columns = multi_positive_kl(logits, matches, leak=self.weights.leak)
            return self.weights.contrast * 0.5 * (rows + columns)

        losses = {"contrast": contrast(embeddings)}
        for extra in self._extras:
            losses |= extra(Outputs(items, contrast))
        logits = scaled_cosines(self.model.scale, embeddings, texts)
        if batch.background.any():
            losses["background"] = self.weights.background * self._background_loss(batch, embeddings, texts)
        right = labels[logits.argmax(dim=-1)] == labels
        return losses, {"accuracy": right.float().mean(), "scale": self.model.scale.detach()}

    def _background_loss(self, batch: ClipBatch, embeddings: Tensor, texts: Tensor) -> Tensor:
        """Cross-entropy of every clip over the labels of the batch and, together, the background texts."""
        _, first = np.unique(np.where(batch.background, -1, batch.labels), return_index=True)
        first = first[~batch.background[first]]
        known = torch.cat((texts[torch.from_numpy(first)], self.texts(self._backgrounds)))
        logits = scaled_cosines(self.model.scale, embeddings, known)
        shown = batch.matches[:, first].astype(np.float32)
        mass = torch.from_numpy(shown / shown.sum(axis=1, keepdims=True).clip(min=1)).to(logits.device)
        quiet = torch.from_numpy(batch.background.astype(np.float32)).to(logits.device)
        return label_cross_entropy(logits[:, : len(first)], logits[:, len(first) :], mass, quiet)
