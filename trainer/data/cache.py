"""Labelled clips over decoded files: which frames show what, and frames for a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from trainer.data.decode import Pictures
from trainer.data.decoded import Decoded
from trainer.data.manifest import Clip
from trainer.data.sampling import segment_indices, window_indices

BACKGROUND = -1
"""The label index of clips in which no label happens."""


@dataclass(frozen=True)
class Stretch:
    """The frames [first, last) of a decoded file, and around them what a window may also show: [lowest, highest)."""

    file: Decoded
    first: int
    last: int
    lowest: int
    highest: int

    def indices(self, count: int, sampling: str, rng: np.random.Generator | None = None) -> npt.NDArray[np.int64]:
        """`count` frames of the file, [count]: one per segment, or consecutive; with `rng` by the training rule."""
        if sampling == "window":
            return window_indices(self.first, self.last, self.lowest, self.highest, count, rng)
        return self.first + segment_indices(self.last - self.first, count, rng)


@dataclass(frozen=True)
class Clips:
    """Clips whose frames are on disk. All tuples have one entry per clip."""

    clips: tuple[Clip, ...]
    stretches: tuple[Stretch, ...]
    labels: tuple[int, ...]
    """Index of the first label, or BACKGROUND."""
    label_sets: tuple[frozenset[int], ...]
    """Indices of all labels that are true of the clip."""
    skipped: Mapping[Clip, str] = field(default_factory=dict)
    """Clips that were left out, and why."""

    def of(self, split: str) -> list[int]:
        """Indices of the clips of a split that have a label."""
        return [number for number, clip in enumerate(self.clips) if clip.split == split and not clip.background]

    def background(self, split: str) -> list[int]:
        """Indices of the clips of a split in which no label happens."""
        return [number for number, clip in enumerate(self.clips) if clip.split == split and clip.background]

    def sample(
        self, clip: int, count: int, sampling: str = "segments", rng: np.random.Generator | None = None
    ) -> Pictures:
        """`count` frames of a clip (a copy), one per segment or consecutive; with `rng` by the training rule."""
        stretch = self.stretches[clip]
        return np.array(stretch.file.frames()[stretch.indices(count, sampling, rng)])

    def figures(self, count: int, sampling: str) -> dict[str, float]:
        """What a report says about the data: clips left out, clips whose last frame is held, background, damage."""
        held = [
            stretch
            for stretch, clip in zip(self.stretches, self.clips, strict=True)
            if sampling == "window" and stretch.highest - stretch.lowest < count and not clip.background
        ]
        damaged = {stretch.file.folder: stretch.file.damaged for stretch in self.stretches}
        return {
            "clips_skipped": float(len(self.skipped)),
            "clips_held": float(len(held)),
            "clips_background": float(sum(clip.background for clip in self.clips)),
            "pictures_damaged": float(sum(damaged.values())),
        }
