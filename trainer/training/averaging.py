"""The moving average of a model's weights during training."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

import torch
from torch import nn


class Average:
    """An exponential moving average of what learns in a model and of its buffers; it moves faster in the first steps.

    still: names in the model's state that stay as they are, and so need no average.
    """

    def __init__(self, model: nn.Module, decay: float, still: Collection[str] = ()):
        self.decay = decay
        self.state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items() if name not in still}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model's state after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        mine, theirs = [], []
        for name, tensor in model.state_dict().items():
            if name not in self.state:
                continue
            if tensor.is_floating_point():
                mine.append(self.state[name])
                theirs.append(tensor)
            else:
                self.state[name].copy_(tensor)
        torch._foreach_lerp_(mine, theirs, 1 - decay)

    @contextlib.contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model holds the average, in evaluation mode; afterwards it is as it was."""
        kept = {name: tensor.detach().clone() for name, tensor in model.state_dict().items() if name in self.state}
        was_training = model.training
        model.load_state_dict(self.state, strict=False)
        model.eval()
        try:
            yield
        finally:
            model.load_state_dict(kept, strict=False)
            model.train(was_training)
