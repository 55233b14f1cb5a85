"""ActionCLIP's changes of a clip's pictures, drawn once per clip (its release draws some of them per frame).

torchvision computes them; the draws are ours. torchvision's own transforms draw from torch's global random state, which
the threads that prepare batches share: a batch would no longer be a function of seed and step.

RandAugment: Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space" (2020).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as draw

from trainer.data import augment
from trainer.recipe import Augment, Published

Pictures = npt.NDArray[np.uint8]
Operation = Callable[[Tensor, float], Tensor]
"""Takes pictures uint8 [n, 3, H, W] and a strength from -1 to 1."""

_LEVELS = 30
_GREY = [124.0, 116.0, 104.0]  # what moves into the picture; ImageNet's mean


def change(pictures: Pictures, rules: Augment | Published, rng: np.random.Generator) -> Pictures:
    """A changed copy of a clip by the rules of a recipe, uint8 [n, H, W, 3], RGB."""
    return apply(pictures, rules, rng) if isinstance(rules, Published) else augment.augment(pictures, rules, rng)


def apply(pictures: Pictures, rules: Published, rng: np.random.Generator) -> Pictures:
    """RandAugment, multi-scale crop, flip, colour jitter and grey, in the order of the release."""
    frames = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).contiguous()
    for number in rng.choice(len(_OPERATIONS), size=rules.operations):
        frames = _OPERATIONS[number](frames, float(rng.choice((-1, 1))) * rules.magnitude / _LEVELS)
    frames = _crop(frames, rules, rng)
    if rng.random() < rules.flip:
        frames = draw.horizontal_flip(frames)
    if rng.random() < rules.jitter:
        frames = _jitter(frames, rng)
    if rng.random() < rules.grey:
        frames = draw.rgb_to_grayscale(frames, num_output_channels=3)
    return np.ascontiguousarray(frames.permute(0, 2, 3, 1).numpy())


def _crop(frames: Tensor, rules: Published, rng: np.random.Generator) -> Tensor:
    """A crop of two neighbouring scales at one of 13 positions, brought back to the size of the pictures."""
    height, width = frames.shape[-2:]
    first = int(rng.integers(len(rules.scales)))
    second = int(np.clip(first + rng.integers(-1, 2), 0, len(rules.scales) - 1))
    tall, wide = round(height * rules.scales[first]), round(width * rules.scales[second])
    down, across = _POSITIONS[int(rng.integers(len(_POSITIONS)))]
    top, left = round((height - tall) * down), round((width - wide) * across)
    cropped: Tensor = draw.resized_crop(frames, top, left, tall, wide, [height, width], antialias=True)
    return cropped


_POSITIONS = (
    (0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5),
    (0, 0.5), (1, 0.5), (0.5, 0), (0.5, 1),
    (0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75),
)  # fmt: skip
"""Corners and centre, middles of the edges, quarter points: where a crop lies between the edges, 0 to 1."""


def _jitter(frames: Tensor, rng: np.random.Generator) -> Tensor:
    brightness, contrast = rng.uniform(0.6, 1.4, 2)
    frames = draw.adjust_contrast(draw.adjust_brightness(frames, float(brightness)), float(contrast))
    frames = draw.adjust_saturation(frames, float(rng.uniform(0.8, 1.2)))
    changed: Tensor = draw.adjust_hue(frames, float(rng.uniform(-0.1, 0.1)))
    return changed


def _moved(frames: Tensor, *, angle: float = 0, shift: tuple[int, int] = (0, 0), shear: tuple[float, float]) -> Tensor:
    moved: Tensor = draw.affine(
        frames, angle=angle, translate=list(shift), scale=1.0, shear=list(shear), fill=_GREY,
        interpolation=InterpolationMode.BILINEAR,
    )  # fmt: skip
    return moved


def _shear(strength: float) -> float:
    return float(np.degrees(np.arctan(0.3 * strength)))


def _along(size: int, strength: float) -> int:
    return round(150.0 / 331.0 * size * strength)


_OPERATIONS: tuple[Operation, ...] = (
    lambda frames, strength: frames,
    lambda frames, strength: _moved(frames, shear=(_shear(strength), 0)),
    lambda frames, strength: _moved(frames, shear=(0, _shear(strength))),
    lambda frames, strength: _moved(frames, shift=(_along(frames.shape[-1], strength), 0), shear=(0, 0)),
    lambda frames, strength: _moved(frames, shift=(0, _along(frames.shape[-2], strength)), shear=(0, 0)),
    lambda frames, strength: _moved(frames, angle=30 * strength, shear=(0, 0)),
    lambda frames, strength: draw.adjust_brightness(frames, 1 + 0.9 * strength),
    lambda frames, strength: draw.adjust_saturation(frames, 1 + 0.9 * strength),
    lambda frames, strength: draw.adjust_contrast(frames, 1 + 0.9 * strength),
    lambda frames, strength: draw.adjust_sharpness(frames, 1 + 0.9 * strength),
    lambda frames, strength: draw.posterize(frames, 8 - round(4 * abs(strength))),
    lambda frames, strength: draw.solarize(frames, 255 * (1 - abs(strength))),
    lambda frames, strength: draw.autocontrast(frames),
    lambda frames, strength: draw.equalize(frames),
)
"""RandAugment's fourteen, at the strengths of its paper."""
