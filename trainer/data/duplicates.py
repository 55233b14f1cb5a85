"""The same film twice: copies that were encoded again, scaled, cut, or played at another rate.

A difference hash finds what looks alike; clips of one fixed camera do as well, so what changes in them decides: without
its mean over time a picture shows only what moves, and that is equal in copies alone. Measured on UT-Interaction:
eight copies (scaled, at other rates, cut at both ends) correlate by 0.83 and more, the most alike other pair by 0.53.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from trainer.data.decode import Pictures

Floats = npt.NDArray[np.float32]

_LOOKS_ALIKE = 0.3  # largest share of bits in which the hashes of two pictures differ
_MOVES_ALIKE = 0.75  # smallest correlation of what changes
_STILL = 2.0  # grey levels; what changes less is a still picture
_OVERLAP = 0.6  # of the shorter clip
_MOST_FRAMES = 120
_AT_ONCE = 512


@dataclass(frozen=True)
class Thumbnails:
    """A clip for comparison: grey pictures float32 [T, 24 * 32], hashes float32 [T, 256] of -1 and 1."""

    pictures: Floats
    hashes: Floats


@dataclass(frozen=True)
class Duplicate:
    """Two clips, by number, and how alike what changes in them is: 1 for equal."""

    first: int
    second: int
    likeness: float


def thumbnails(pictures: Pictures) -> Thumbnails:
    """The first frames of a clip, uint8 [T, H, W, 3], as thumbnails and difference hashes of 16 by 16 bits."""
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures[:_MOST_FRAMES]]
    small = np.stack([cv2.resize(picture, (32, 24), interpolation=cv2.INTER_AREA) for picture in grey])
    tiny = np.stack([cv2.resize(picture, (17, 16), interpolation=cv2.INTER_AREA) for picture in grey])
    bits = np.where(tiny[:, :, 1:] > tiny[:, :, :-1], 1, -1).reshape(len(tiny), -1)
    return Thumbnails(small.reshape(len(small), -1).astype(np.float32), bits.astype(np.float32))


def duplicates(clips: Sequence[Thumbnails], skip: Callable[[int, int], bool] = lambda a, b: False) -> list[Duplicate]:
    """Pairs that show the same film, the most alike first; `skip` says of two clips that they need no comparison."""
    found: dict[tuple[int, int], float] = {}
    for pair in _alike(clips):
        if pair not in found and not skip(*pair):
            found[pair] = likeness(clips[pair[0]].pictures, clips[pair[1]].pictures)
    return [
        Duplicate(*pair, likeness=value)
        for pair, value in sorted(found.items(), key=lambda item: -item[1])
        if value >= _MOVES_ALIKE
    ]


def _alike(clips: Sequence[Thumbnails]) -> list[tuple[int, int]]:
    """Pairs in which the middle picture of one looks like some picture of the other."""
    if not clips:
        return []
    owner = np.repeat(np.arange(len(clips)), [len(clip.hashes) for clip in clips])
    middles = np.stack([clip.hashes[len(clip.hashes) // 2] for clip in clips])
    hashes = np.concatenate([clip.hashes for clip in clips])
    least = (1 - 2 * _LOOKS_ALIKE) * middles.shape[1]
    pairs: set[tuple[int, int]] = set()
    for begin in range(0, len(clips), _AT_ONCE):
        rows, columns = np.nonzero(middles[begin : begin + _AT_ONCE] @ hashes.T >= least)
        for one, other in zip(rows + begin, owner[columns], strict=True):
            if one != other:
                pairs.add((int(min(one, other)), int(max(one, other))))
    return sorted(pairs)


def likeness(one: Floats, other: Floats) -> float:
    """The best correlation of what changes in two clips, over all shifts in time at which enough of them overlaps.

    one [T, P], other [S, P], grey levels. Two still pictures are 1 where they are equal but for noise, else 0.
    """
    need = max(2, round(_OVERLAP * min(len(one), len(other))))
    if min(len(one), len(other)) < need:
        return float(np.abs(one[:1] - other[:1]).mean() < _STILL)
    best = 0.0
    for shift in range(need - len(other), len(one) - need + 1):
        left = one[max(0, shift) : shift + len(other)]
        right = other[max(0, -shift) : max(0, -shift) + len(left)]
        best = max(best, _correlation(left, right))
    return best


def _correlation(one: Floats, other: Floats) -> float:
    moved, moved_too = one - one.mean(axis=0), other - other.mean(axis=0)
    strength, strength_too = float(np.sqrt(np.mean(moved**2))), float(np.sqrt(np.mean(moved_too**2)))
    if max(strength, strength_too) < _STILL:
        return float(np.abs(one.mean(axis=0) - other.mean(axis=0)).mean() < _STILL)
    return float(np.mean(moved * moved_too) / (strength * strength_too + 1e-6))
