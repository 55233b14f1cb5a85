"""Footage seen once by an image tower that has learnt its last: what the frozen stages draw their windows from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from trainer.footage import Footage
from trainer.model import VideoTextModel

_AT_ONCE = 256
Progress = Callable[[int, int], None]


@torch.inference_mode()
def encode(model: VideoTextModel, footage: Footage, most: int, progress: Progress | None = None) -> Footage:
    """The items of whole stretches from the beginning of the footage, at most `most` frames of them.

    The result is footage whose frames are float16 [n, D]. The model's mode is left as it was.
    """
    ends = np.cumsum([stretch.ticks for stretch in footage.stretches])
    taken = max(1, int(np.searchsorted(ends, most, "right")))
    count = int(ends[taken - 1])
    items = np.empty((count, model.dimensions), np.float16)
    was_training = model.training
    model.eval()
    for at in range(0, count, _AT_ONCE):
        pictures = torch.from_numpy(np.array(footage.frames[at : min(at + _AT_ONCE, count)])).to(model.mean.device)
        items[at : at + len(pictures)] = model.encode_frames(pictures).float().cpu().numpy()
        if progress is not None:
            progress(min(at + _AT_ONCE, count), count)
    model.train(was_training)
    return Footage(items, footage.stretches[:taken])
