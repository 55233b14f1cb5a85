"""The moving average of a model's weights during training."""

from __future__ import annotations

import torch
from torch import nn


class Average:
    """An exponential moving average of a model's parameters and buffers, which moves faster in the first steps."""

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model's state after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        mine, theirs = [], []
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                mine.append(self.state[name])
                theirs.append(tensor)
            else:
                self.state[name].copy_(tensor)
        torch._foreach_lerp_(mine, theirs, 1 - decay)
