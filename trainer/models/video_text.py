"""The trained model: two towers into one space, a temporal head, and a tokenizer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainer.errors import RecipeError
from trainer.models.blueprint import Blueprint
from trainer.models.text.context import words_read
from trainer.models.text.templates import TEMPLATES, fill

if TYPE_CHECKING:
    from trainer.models.few_shot.comparison import Comparison
    from trainer.models.settings import Model
    from trainer.models.towers.video import Memory, ShiftTower

KNOWN_CLASSES = "few_shot.known."
"""Where a state holds what was gathered of the classes of its own training."""
MAX_SCALE = 100.0
"""What the prompt joint adds to an image tower (`trainer.models.towers.video`)."""


class Clip(Protocol):
    """What is used of open_clip's models: two towers into one space, and a learned scale."""

    visual: nn.Module
    logit_scale: Tensor

    def encode_image(self, image: Tensor) -> Tensor:
        """Normalised pixels [n, 3, H, W] to [n, D]."""
        ...

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """Token ids [n, context] to [n, D]."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """As of any module."""
        ...

    def buffers(self) -> Iterator[Tensor]:
        """As of any module."""
        ...

    def state_dict(self) -> Mapping[str, Tensor]:
        """As of any module."""
        ...


@dataclass(frozen=True)
class Foundation:
    """What a training starts from: two towers, the tokenizer of their texts, and how they are built again."""

    clip: Clip
    tokenizer: Tokenizer
    blueprint: Blueprint
    rest: Mapping[str, Tensor] = field(default_factory=dict)
    """Weights of projection and head that came along, by their names in the model."""
    keep_head: bool = False
    """Whether the head is among them, and must be the recipe's."""
    unused: tuple[str, ...] = ()
    """Tensors of the file that have no place in the model."""


class VideoTextModel(nn.Module):
    """CLIP towers and a head over windows of frame embeddings.

    Pictures are uint8 RGB [n, H, W, 3]; normalisation is part of the network. D is the width of the joint space, F
    that of the image tower's output; they differ where a tower without text learns a projection of its own.
    """

    clip: Clip
    head: nn.Module
    project: nn.Module
    bank: nn.Module
    """An embedding of the labels where nothing is said in words; else nothing."""
    mean: Tensor
    std: Tensor

    few_shot: Comparison | None
    context: nn.Module | None

    def __init__(
        self,
        clip: Clip,
        head: nn.Module,
        tokenizer: Tokenizer,
        *,
        frames: int,
        blueprint: Blueprint,
        templates: Sequence[str] = TEMPLATES,
        labels: Sequence[str] = (),
        bank: nn.Module | None = None,
        few_shot: Comparison | None = None,
        context: nn.Module | None = None,
    ):
        super().__init__()
        self.clip = clip
        self.head = head
        self.few_shot = few_shot
        self.context = context
        self.project = _projection(blueprint)
        self.tokenizer = tokenizer
        self.frames = frames
        self.templates = tuple(templates)
        self.labels = tuple(labels)
        self.bank = bank or nn.Identity()
        self.blueprint = blueprint
        self.resting: tuple[nn.Module, ...] = ()
        """Parts that do not learn, and so stay in evaluation mode (`trainer.training.freezing`)."""
        self.pieces = 1
        """In how many parts a batch of training passes the image tower, activations being computed again."""
        form = blueprint.form
        self.register_buffer("mean", 255.0 * torch.tensor(form.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255.0 * torch.tensor(form.std).view(1, 3, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.mean.device

    @property
    def kind(self) -> Literal["frame", "clip"]:
        """Whether frames are encoded one by one, or windows as a whole; that of the bundle."""
        return getattr(self.clip.visual, "kind", "frame")

    @property
    def history(self) -> int:
        """Frames before its own that an item depends on, beside those of its window: a causal tower's."""
        return getattr(self.clip.visual, "history", 0)

    @property
    def together(self) -> bool:
        """Whether the image tower takes the frames of a window together."""
        return self.kind == "clip" or self.history > 0

    @property
    def dimensions(self) -> int:
        """D."""
        return self.blueprint.dimensions

    def features(self, images: Tensor) -> Tensor:
        """Pictures to what the image tower says of them, [n, F]. Takes uint8, or float in the same range."""
        return self._in_pieces(self._features, images)

    def _in_pieces(self, compute: Callable[[Tensor], Tensor], given: Tensor) -> Tensor:
        if self.training and self.pieces > 1 and torch.is_grad_enabled():
            parts = given.tensor_split(self.pieces)
            return torch.cat([checkpoint(compute, part, use_reentrant=False) for part in parts if len(part)])
        return compute(given)

    def _features(self, images: Tensor) -> Tensor:
        pixels = images.float().permute(0, 3, 1, 2)  # TensorRT does not permute bytes
        return self.clip.encode_image((pixels - self.mean) / self.std)

    def window_items(self, given: Tensor) -> Tensor:
        """Windows to items float32 [b, t, D], not normalised; t is T, or 1 with the prompt joint.

        A causal tower begins each window as a stream begins; `step` goes on from frame to frame.

        given: pictures uint8 [b, T, H, W, 3], or features float [b, T, F] of a frozen tower.
        """
        if self.together:
            return self._in_pieces(self._clips, given).float()
        flat = given.flatten(0, 1)
        features = flat.float() if given.is_floating_point() else self.features(flat)
        return self.items(features).float().view(*given.shape[:2], self.dimensions)

    def _clips(self, images: Tensor) -> Tensor:
        pixels = images.float().permute(0, 1, 4, 2, 3)
        return self.items(self.clip.encode_image((pixels - self.mean) / self.std))

    def train(self, mode: bool = True) -> VideoTextModel:
        """Training mode, but for the parts that rest."""
        super().train(mode)
        for part in self.resting:
            part.eval()
        return self

    def items(self, features: Tensor) -> Tensor:
        """Features [n, F] to items [n, D], not normalised."""
        items: Tensor = self.project(features)
        return items

    def encode_frames(self, images: Tensor) -> Tensor:
        """Pictures to items, [n, D], not normalised. Takes uint8, or float in the same range."""
        return self.items(self.features(images))

    def memory(self, cameras: int) -> Memory:
        """The buffers of a causal tower for cameras at the start of their streams."""
        found: Memory = cast("ShiftTower", self.clip.visual).memory(cameras)
        return found

    def step(self, images: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """One picture of each of n cameras, [n, H, W, 3], to items [n, D], not normalised, and the buffers after it."""
        pixels = (images.float().permute(0, 3, 1, 2) - self.mean) / self.std
        found, after = cast("ShiftTower", self.clip.visual).step(pixels, memory)
        return self.items(found), after

    def embed_windows(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Windows of items [m, T, D] to (head, pooled), both [m, D] and L2-normalised."""
        return F.normalize(self.head(windows), dim=-1), F.normalize(windows.mean(dim=1), dim=-1)

    def encode_text(self, tokens: Tensor, *, normalise: bool = True) -> Tensor:
        """Token ids [n, context] to embeddings [n, D], L2-normalised unless said otherwise."""
        if self.context is None:
            return self.clip.encode_text(tokens, normalize=normalise)
        found: Tensor = self.context(self.clip, tokens)
        return F.normalize(found, dim=-1) if normalise else found

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Token ids of texts, int64 [n, context], on the model's device."""
        return token_ids(self.tokenizer, texts).to(self.device)

    @property
    def scale(self) -> Tensor:
        """exp(lambda), clamped to at most 100 (ActionCLIP release: 100 at test)."""
        return self.clip.logit_scale.exp().clamp(max=MAX_SCALE)


def token_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Token ids of texts, int64 [n, context]."""
    return torch.from_numpy(np.array([entry.ids for entry in tokenizer.encode_batch(list(texts))], np.int64))


def shortened(tokenizer: Tokenizer, length: int) -> Tokenizer:
    """A tokenizer that gives `length` ids, for towers that read learned vectors as well."""
    cut = Tokenizer.from_str(tokenizer.to_str())
    cut.enable_truncation(length)
    cut.enable_padding(**{**(cut.padding or {}), "length": length})
    return cut


def context_length(tokenizer: Tokenizer) -> int:
    """How many token ids a tokenizer makes of any text."""
    rule = tokenizer.truncation
    assert rule is not None  # all of ours cut
    return int(rule["max_length"])


def build(settings: Model, foundation: Foundation) -> VideoTextModel:
    """The model of a recipe on its foundation; torch's random state decides the weights of what starts anew.

    Raises RecipeError for a head that cannot be built, or is another than the one that came along.
    """
    plain = {f"clip.{name}" for name in foundation.clip.state_dict()}
    model = assemble(settings, foundation.blueprint, foundation.clip, foundation.tokenizer)
    if foundation.rest:
        wanted = {name for name in model.state_dict() if foundation.keep_head or name.startswith("project.")} - plain
        wanted -= {name for name in wanted if name.startswith(KNOWN_CLASSES)}
        _take(model, foundation.rest, wanted)
    if settings.few_shot and settings.few_shot.scale_init == "release":
        model.clip.logit_scale.data.zero_()
    return model


def assemble(settings: Model, blueprint: Blueprint, clip: Clip, tokenizer: Tokenizer) -> VideoTextModel:
    """Towers under a prompt and a fresh head as one model. Raises RecipeError for parts that do not fit."""
    head = settings.head.build(blueprint.dimensions, settings.frames)
    few_shot = settings.few_shot and settings.few_shot.build(
        blueprint.dimensions, settings.frames, len(settings.labels)
    )
    clip.visual = settings.prompt.build(clip.visual, settings.frames)
    context = None
    if settings.context is not None:
        tokenizer = shortened(tokenizer, words_read(clip) - settings.context.vectors)
        filled = [fill(settings.templates.chosen[0], label) for label in settings.labels]
        context = settings.context.build(clip, filled, functools.partial(token_ids, tokenizer))
    model = VideoTextModel(
        clip,
        head,
        tokenizer,
        frames=settings.frames,
        blueprint=blueprint,
        templates=settings.templates.chosen,
        labels=settings.labels,
        bank=_bank(settings, blueprint.dimensions) if settings.bank == "learned" else None,
        few_shot=few_shot or None,
        context=context,
    )
    return model.to(memory_format=torch.channels_last)


def _bank(settings: Model, dimensions: int) -> nn.Embedding:
    """A learned vector per label, [C, D]."""
    bank = nn.Embedding(len(settings.labels), dimensions)
    nn.init.normal_(bank.weight, std=dimensions**-0.5)
    return bank


def _take(model: VideoTextModel, rest: Mapping[str, Tensor], wanted: Collection[str]) -> None:
    ours = {name: tensor for name, tensor in model.state_dict().items() if name in wanted}
    positions = "head.positions"
    if positions in ours and positions in rest and rest[positions].ndim == 2 and len(rest[positions]) == 77:
        # The release keeps as many positions as texts have tokens, and uses the first ones.
        rest = {**rest, positions: rest[positions][: model.frames]}
    for name in dict.fromkeys((*ours, *rest)):
        if name not in ours or name not in rest or ours[name].shape != rest[name].shape:
            theirs = list(rest[name].shape) if name in rest else "missing"
            raise RecipeError(
                f"the head of the recipe is not the one that came with the weights: {name} is {theirs} there and "
                f"{list(ours[name].shape) if name in ours else 'missing'} in the model; set model.head, model.prompt, "
                "model.context, model.few_shot and model.frames to what they were, or start.head to new"
            )
    model.load_state_dict(dict(rest), strict=False)


def _projection(blueprint: Blueprint) -> nn.Module:
    """Nothing where the tower already ends in the joint space; else centred features, most often mapped linearly."""
    if blueprint.features is None:
        return nn.Identity()
    # Pooled activations are positive: uncentred, all embeddings would point the same way, with nothing to tell apart.
    if blueprint.channels_stay:
        return nn.BatchNorm1d(blueprint.features, affine=False)
    linear = nn.Linear(blueprint.features, blueprint.dimensions, bias=False)
    nn.init.normal_(linear.weight, std=blueprint.features**-0.5)
    return nn.Sequential(nn.BatchNorm1d(blueprint.features, affine=False), linear)


def windows_of(items: Tensor, frames: int) -> Tensor:
    """All windows of `frames` consecutive items: [b, n, D] -> [b, n - frames + 1, frames, D], a view."""
    return items.unfold(1, frames, 1).transpose(-1, -2)
