"""Footage encoded once by an image tower that learns no more: the frozen stages draw their windows from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.demo.footage import Footage
from trainer.models.video_text import VideoTextModel
from trainer.progress import Count

_AT_ONCE = 64


def in_parts(model: VideoTextModel, pictures: npt.NDArray[np.uint8]) -> Iterator[Tensor]:
    """Features float32 [n, F] of pictures uint8 [N, H, W, 3], a few at a time, in their order."""
    for at in range(0, len(pictures), _AT_ONCE):
        part = torch.from_numpy(np.array(pictures[at : at + _AT_ONCE])).to(model.device)
        yield model.features(part).float()


@torch.inference_mode()
def encode(model: VideoTextModel, footage: Footage, most: int, progress: Count | None = None) -> Footage:
    """The features of whole stretches from the beginning of the footage, at most `most` frames of them.

    The result is footage whose frames are float16 [n, F]. The model's mode is left as it was.
    """
    ends = np.cumsum([stretch.ticks for stretch in footage.stretches])
    taken = max(1, int(np.searchsorted(ends, most, "right")))
    count = int(ends[taken - 1])
    items = np.empty((count, model.blueprint.features or model.dimensions), np.float16)
    was_training = model.training
    model.eval()
    done = 0
    for part in in_parts(model, footage.frames[:count]):
        items[done : done + len(part)] = part.cpu().numpy()
        done += len(part)
        if progress is not None:
            progress(done, count)
    model.train(was_training)
    return Footage(items, footage.stretches[:taken])
