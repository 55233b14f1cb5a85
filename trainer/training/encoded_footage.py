"""Footage seen once by an image tower that has learnt its last: what the frozen stages draw their windows from."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from trainer.demo.footage import Footage, Pictures
from trainer.models.video_text import VideoTextModel

_AT_ONCE = 64
Progress = Callable[[int, int], None]


def in_parts(model: VideoTextModel, pictures: Pictures) -> Iterator[Tensor]:
    """Items float32 [n, D] of pictures uint8 [N, H, W, 3], a few at a time, in their order."""
    for at in range(0, len(pictures), _AT_ONCE):
        part = torch.from_numpy(np.array(pictures[at : at + _AT_ONCE])).to(model.mean.device)
        yield model.encode_frames(part).float()


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
    done = 0
    for part in in_parts(model, footage.frames[:count]):
        items[done : done + len(part)] = part.cpu().numpy()
        done += len(part)
        if progress is not None:
            progress(done, count)
    model.train(was_training)
    return Footage(items, footage.stretches[:taken])
