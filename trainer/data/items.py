"""What a frozen image tower says of clips, computed once: heads and texts then train without a picture.

Each clip is a file in the cache, named by what decided it: the tower with its weights, the pixels (hence the bytes of
the video, rate and size) and, for a changed copy, the changes. Other splits and corrected labels compute nothing again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from trainer.data.cache import Clips
from trainer.data.published import change
from trainer.models.video_text import VideoTextModel
from trainer.progress import Count
from trainer.recipe import Recipe

Floats = npt.NDArray[np.float32]

_AT_ONCE = 32


@dataclass(frozen=True)
class EncodedClips:
    """Clips as features float32 [n, F] of their frames, and of changed copies of them; else as `Clips`."""

    clips: Clips
    features: tuple[tuple[Floats, ...], ...]
    """Of each clip: itself, then its copies."""

    @property
    def labels(self) -> tuple[int, ...]:
        """Of each clip, the index of its label."""
        return self.clips.labels

    @property
    def names(self) -> tuple[str, ...]:
        """Of each clip, what it is called in messages."""
        return self.clips.names

    def of(self, split: str) -> list[int]:
        """Indices of the clips of a split."""
        return self.clips.of(split)

    def sample(
        self, clip: int, count: int, sampling: str = "segments", rng: np.random.Generator | None = None
    ) -> Floats:
        """Features [count, F] of the frames that `Clips.sample` would take; with `rng` of any of the copies."""
        indices = self.clips.indices(clip, count, sampling, rng)
        copies = self.features[clip]
        chosen = 0 if rng is None or len(copies) == 1 else int(rng.integers(len(copies)))
        return copies[chosen][indices]


def encode(
    model: VideoTextModel,
    clips: Clips,
    chosen: Sequence[int],
    recipe: Recipe,
    copies: int,
    cache: Path,
    progress: Count,
) -> EncodedClips:
    """The features of the clips `chosen`, from the cache or computed into it; the others stay empty.

    copies: how many changed copies of each clip are encoded beside it, by the recipe's `augment` and seed.
    """
    home = cache / "items" / tower_hash(model.clip.visual)
    home.mkdir(parents=True, exist_ok=True)
    found: list[tuple[Floats, ...]] = [()] * len(clips.labels)
    for done, clip in enumerate(chosen, 1):
        pixels = hashlib.sha256(clips.pictures(clip).tobytes()).hexdigest()
        found[clip] = tuple(_features(model, clips, clip, recipe, copy, home, pixels) for copy in range(copies + 1))
        progress(done, len(chosen))
    return EncodedClips(clips, tuple(found))


def _features(
    model: VideoTextModel, clips: Clips, clip: int, recipe: Recipe, copy: int, home: Path, pixels: str
) -> Floats:
    changes = f"{recipe.augment.model_dump_json()} {recipe.seed} {copy}" if copy else ""
    path = home / f"{hashlib.sha256(f'{pixels} {changes}'.encode()).hexdigest()[:24]}.npy"
    pictures = clips.pictures(clip)
    try:
        kept: Floats = np.load(path)
        if len(kept) == len(pictures):
            return kept
    except (OSError, ValueError, EOFError):  # not there, or cut short: computed again
        pass
    if copy:
        seed = int(pixels[:15], 16)
        pictures = change(np.array(pictures), recipe.augment, np.random.default_rng([recipe.seed, seed, copy]))
    features = tower_features(model, pictures)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as stream:
        np.save(stream, features)
    partial.replace(path)
    return features


@torch.no_grad()
def tower_features(model: VideoTextModel, pictures: npt.NDArray[np.uint8]) -> Floats:
    """Features float32 [n, F] of pictures uint8 [n, H, W, 3], a few at a time; the tower is in evaluation mode."""
    visual = model.clip.visual
    was_training = visual.training
    visual.eval()
    parts = [
        model.features(torch.from_numpy(np.array(pictures[at : at + _AT_ONCE])).to(model.device)).float().cpu()
        for at in range(0, len(pictures), _AT_ONCE)
    ]
    if was_training:
        model.train()
    return np.asarray(torch.cat(parts).numpy(), np.float32)


def tower_hash(tower: nn.Module) -> str:
    """A short hash of the names and values of a tower's tensors."""
    digest = hashlib.sha256()
    for name, tensor in tower.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
