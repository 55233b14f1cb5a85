"""Tasks: model and losses together, so that the loop knows neither CLIP nor heads."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.data.batches import ClipBatch
from trainer.models.text.templates import fill
from trainer.models.text.texts import BACKGROUNDS
from trainer.models.video_text import VideoTextModel
from trainer.recipes.loss import Loss
from trainer.training.distillation import Distillation
from trainer.training.distributed import gathered, gathered_array
from trainer.training.extras import Outputs, extras_of
from trainer.training.freezing import text_parameters
from trainer.training.losses import (
    diagonal_contrast,
    label_cross_entropy,
    multi_positive_kl,
    scaled_cosines,
    smoothed,
    soft_cross_entropy,
)

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

    start: Mapping[str, Tensor] | None = None
    """The weights that a second pass at the way back to the start needs; None for tasks without one."""

    def extra_parameters(self) -> list[nn.Parameter]:
        """Parameters beside the model's, which are dropped after training."""
        return []

    def items(self, images: npt.NDArray[np.generic]) -> Tensor:
        """Items float32 [b, n, D] of pictures uint8 [b, n, H, W, 3], or of the features [b, n, F] of a frozen tower."""
        return self.model.window_items(torch.from_numpy(images).to(self.model.device, non_blocking=True))

    def texts(self, tokens: npt.NDArray[np.int64]) -> Tensor:
        """Embeddings [n, D] of token ids [n, context]. A text tower that does not learn reads each text once."""
        given = torch.from_numpy(tokens)
        if self.text_learns:
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
    def text_learns(self) -> bool:
        """Looked at once: walking through a tower takes as long as a step from cached items."""
        return self.model.context is not None or any(
            parameter.requires_grad for parameter in text_parameters(self.model)
        )

    @functools.cached_property
    def learning(self) -> list[nn.Parameter]:
        """The parameters that learn, in the order of the model."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]


@dataclass(frozen=True)
class Truth:
    """What the clips of a batch show, those of all processes, as `ClipBatch` has it."""

    labels: Tensor
    captions: Tensor
    shown: Tensor

    @property
    def matches(self) -> Tensor:
        """Bool [B, B]: whether clip i shows what caption j says."""
        return self.shown[:, self.captions]

    @property
    def background(self) -> Tensor:
        """Bool [B]: whether no label happens in the clip."""
        return self.labels < 0


class ClipTask(Task):
    """ActionCLIP's training: clips against captions, where clips and captions of one label are positives.

    Background is one more such label. Where a batch has some, a second part of the loss scores all of its clips as
    serving does: over the labels, and over all background texts together. `loss.objective` names other comparisons: the
    caption of each clip alone, or all labels at once.
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
        self._teacher = Distillation(model) if weights.distil else None
        self._extras = extras_of(model, weights, self._teacher)
        if weights.second_pass:
            anew = {id(parameter) for parameter in getattr(model.clip.visual, "anew", ())}  # prompts have no start
            self.start = {
                name: parameter.detach().clone()
                for name, parameter in model.named_parameters()
                if parameter.requires_grad and name.startswith("clip.") and id(parameter) not in anew
            }

    def extra_parameters(self) -> list[nn.Parameter]:
        """The projections by which towers are held to their start."""
        return list(self._teacher.parameters()) if self._teacher is not None else []

    def forward(self, batch: ClipBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses and a report, as `Task` says."""
        items = self.items(batch.images)
        if batch.images.shape[1] == 1:
            embeddings = F.normalize(items[:, 0], dim=-1)
        else:
            embeddings = self.model.embed_windows(items)[0]
        if self.weights.objective == "classes":
            losses, right = self._by_class(batch, items, embeddings)
        else:
            losses, right = self._in_batch(batch, items, embeddings)
        return losses, {"accuracy": right.float().mean(), "scale": self.model.scale.detach()}

    def _in_batch(self, batch: ClipBatch, items: Tensor, embeddings: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Clips against the captions of the whole batch; and which clips are nearest to a caption of their own."""
        own = self.texts(batch.tokens)
        truth, texts = self._truth(batch), gathered(own)

        def contrast(embeddings: Tensor) -> Tensor:
            logits = scaled_cosines(self.model.scale, gathered(embeddings), texts)
            if self.weights.objective == "diagonal":
                rows, columns = diagonal_contrast(logits)
            else:
                rows, columns = multi_positive_kl(logits, truth.matches, leak=self.weights.leak)
            return self.weights.contrast * 0.5 * (rows + columns)

        losses = {"contrast": contrast(embeddings)}
        losses |= self._further(batch, items, own, contrast)
        whole = gathered(embeddings)
        if bool(truth.background.any()):
            losses["background"] = self.weights.background * self._background_loss(truth, whole, texts)
        chosen = scaled_cosines(self.model.scale, whole, texts).argmax(dim=-1)
        return losses, truth.labels[chosen] == truth.labels

    def _further(
        self, batch: ClipBatch, items: Tensor, texts: Tensor | None, loss: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor]:
        """The further parts of the loss. `texts`: the captions, where they were embedded already."""
        found: dict[str, Tensor] = {}
        if self._extras:
            device = self.model.device
            said = self.texts(batch.tokens) if texts is None else texts
            outputs = Outputs(
                torch.from_numpy(batch.images).to(device), items, torch.from_numpy(batch.tokens).to(device), said, loss
            )
            for extra in self._extras:
                found |= extra(outputs)
        return found

    def _background_loss(self, truth: Truth, embeddings: Tensor, texts: Tensor) -> Tensor:
        """Cross-entropy of every clip over the labels of the batch and, together, the background texts."""
        captions = truth.labels.cpu().numpy()
        found, first = np.unique(captions, return_index=True)
        first = first[found >= 0]
        known = torch.cat((texts[torch.from_numpy(first)], self.texts(self._backgrounds)))
        logits = scaled_cosines(self.model.scale, embeddings, known)
        shown = truth.matches[:, torch.from_numpy(first)].float()
        mass = shown / shown.sum(dim=1, keepdim=True).clamp_min(1)
        return label_cross_entropy(logits[:, : len(first)], logits[:, len(first) :], mass, truth.background.to(logits))

    def _by_class(self, batch: ClipBatch, items: Tensor, embeddings: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Clips of this process against all labels and, where there is background, its texts together."""
        shown, bank = torch.from_numpy(batch.truth).to(embeddings.device), self._bank()
        labels = shown[:, : len(bank)].float()
        quiet = torch.from_numpy(batch.background).to(labels)
        mass = smoothed(labels / labels.sum(dim=1, keepdim=True).clamp_min(1), self.weights.smoothing)
        backgrounds = self.texts(self._backgrounds) if bool(quiet.any()) else None

        def classes(embeddings: Tensor) -> Tensor:
            logits = scaled_cosines(self.model.scale, embeddings, bank)
            if backgrounds is None:
                return self.weights.contrast * soft_cross_entropy(logits, mass)
            away = scaled_cosines(self.model.scale, embeddings, backgrounds)
            return self.weights.contrast * label_cross_entropy(logits, away, mass, quiet)

        losses = {"classes": classes(embeddings)}
        losses |= self._further(batch, items, None, classes)
        chosen = scaled_cosines(self.model.scale, embeddings, bank).argmax(dim=-1)
        return losses, shown.gather(1, chosen[:, None])[:, 0]

    def _bank(self) -> Tensor:
        """What clips are compared with, [C, D]: learned vectors, texts that rest, or texts in a drawn template."""
        if isinstance(self.model.bank, nn.Embedding):
            return F.normalize(self.model.bank.weight, dim=-1)
        if not self.text_learns:
            return self._static_bank
        drawn = self.model.templates[int(torch.randint(len(self.model.templates), ()))]
        return self.texts(self.model.tokens([fill(drawn, label) for label in self.model.labels]).cpu().numpy())

    @functools.cached_property
    def _static_bank(self) -> Tensor:
        """Of each label the mean of its texts in all templates, at length one."""
        sums = [
            self.texts(self.model.tokens([fill(template, label) for label in self.model.labels]).cpu().numpy())
            for template in self.model.templates
        ]
        return F.normalize(torch.stack(sums).sum(dim=0), dim=-1)

    def _truth(self, batch: ClipBatch) -> Truth:
        device = self.model.device
        whole = (gathered_array(part, device) for part in (batch.labels, batch.captions, batch.truth))
        return Truth(*(torch.from_numpy(part).to(device) for part in whole))
