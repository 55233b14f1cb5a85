"""What a frozen image tower says of clips, computed once: heads and texts then train without a picture.

Each file of video is a file in the cache, named by what decided it: the tower with its weights, the bytes of the video,
rate and size and, for a changed copy, the changes. Other splits and corrected labels compute nothing again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from trainer.data.cache import Clips
from trainer.data.decoded import Decoded
from trainer.data.manifest import Clip
from trainer.data.published import change
from trainer.data.sides import names_a_side
from trainer.models.video_text import VideoTextModel
from trainer.progress import Count
from trainer.recipe import AnyAugment

Floats = npt.NDArray[np.float32]

_AT_ONCE = 32


@dataclass(frozen=True)
class Changes:
    """How many changed copies of every file are encoded beside it, by which rules; and the labels, some of sides."""

    rules: AnyAugment
    copies: int
    seed: int
    labels: tuple[str, ...]


@dataclass(frozen=True)
class EncodedClips:
    """Clips as features float32 [n, F] of their frames, and of changed copies of them; else as `Clips`."""

    decoded: Clips
    features: Mapping[Path, tuple[Floats, ...]]
    """Of the frames of each decoded file: themselves, then their copies."""

    @property
    def clips(self) -> tuple[Clip, ...]:
        """The clips of the list."""
        return self.decoded.clips

    @property
    def labels(self) -> tuple[int, ...]:
        """Of each clip, the index of its first label."""
        return self.decoded.labels

    @property
    def label_sets(self) -> tuple[frozenset[int], ...]:
        """Of each clip, the indices of all labels."""
        return self.decoded.label_sets

    def of(self, split: str) -> list[int]:
        """Indices of the clips of a split that have a label."""
        return self.decoded.of(split)

    def background(self, split: str) -> list[int]:
        """Indices of the clips of a split in which no label happens."""
        return self.decoded.background(split)

    def sample(
        self, clip: int, count: int, sampling: str = "segments", rng: np.random.Generator | None = None
    ) -> Floats:
        """Features [count, F] of the frames that `Clips.sample` would take; with `rng` of any of the copies."""
        stretch = self.decoded.stretches[clip]
        indices = stretch.indices(count, sampling, rng)
        copies = self.features[stretch.file.folder]
        chosen = 0 if rng is None or len(copies) == 1 else int(rng.integers(len(copies)))
        return copies[chosen][indices]


def encode(
    model: VideoTextModel,
    clips: Clips,
    chosen: Sequence[int],
    cache: Path,
    progress: Count,
    changes: Changes | None = None,
) -> EncodedClips:
    """The features of the files of the clips `chosen`, from the cache or computed into it."""
    home = cache / "items" / tower_hash(model.clip.visual)
    home.mkdir(parents=True, exist_ok=True)
    files = {clips.stretches[clip].file.folder: clips.stretches[clip].file for clip in chosen}
    found = {}
    for done, (folder, file) in enumerate(files.items(), 1):
        found[folder] = (
            _features(model, file, home, folder.name, None),
            *(_copy(model, clips, file, home, changes, number) for number in range(changes.copies if changes else 0)),
        )
        progress(done, len(files))
    return EncodedClips(clips, found)


def _copy(
    model: VideoTextModel, clips: Clips, file: Decoded, home: Path, changes: Changes | None, number: int
) -> Floats:
    """The features of a changed copy, mirrored only where no clip of the file has a label that names a side."""
    assert changes is not None
    shown = {index for clip, stretch in enumerate(clips.stretches) if stretch.file.folder == file.folder
             for index in clips.label_sets[clip]}  # fmt: skip
    sided = any(names_a_side(changes.labels[index]) for index in shown)
    rules = changes.rules.model_copy(update={"flip": 0.0}) if sided else changes.rules
    said = f"{rules.model_dump_json()} {changes.seed} {number}"
    key = hashlib.sha256(f"{file.folder.name} {said}".encode()).hexdigest()[:24]
    return _features(model, file, home, key, rules)


def _features(model: VideoTextModel, file: Decoded, home: Path, key: str, rules: AnyAugment | None) -> Floats:
    path = home / f"{key}.npy"
    try:
        kept: Floats = np.load(path)
        if len(kept) == len(file.times):
            return kept
    except (OSError, ValueError, EOFError):  # not there, or cut short: computed again
        pass
    pictures = file.frames()
    if rules is not None:
        pictures = change(np.array(pictures), rules, np.random.default_rng(int(key, 16)))
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
