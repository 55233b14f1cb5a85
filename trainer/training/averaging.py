"""The moving average of a model's weights during training."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class _Pairs:
    """Tensors of an average and of the model that it follows; a model keeps its tensors, whatever is loaded into it."""

    model: nn.Module
    state: dict[str, Tensor]
    floats: list[tuple[Tensor, Tensor]]
    others: list[tuple[Tensor, Tensor]]


class Average:
    """An exponential moving average of what learns in a model and of its buffers; it moves faster in the first steps.

    still: names in the model's state that stay as they are, and so need no average. since: in place of the exponential
    one, the plain mean of the weights after every step from this one on (SWA); before it, the weights themselves.
    """

    def __init__(self, model: nn.Module, decay: float, still: Collection[str] = (), *, since: int | None = None):
        self.decay = decay
        self.since = since
        self.state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items() if name not in still}
        self._pairs: _Pairs | None = None

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model's state after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        if self.since is not None:
            counted = max(step - self.since, 0)
            decay = counted / (counted + 1)
        pairs = self._paired(model)
        torch._foreach_lerp_([mine for mine, _ in pairs.floats], [theirs for _, theirs in pairs.floats], 1 - decay)
        for mine, theirs in pairs.others:
            mine.copy_(theirs)

    def _paired(self, model: nn.Module) -> _Pairs:
        """Each tensor of the average with the model's, found once: a walk takes as long as a step from cached items."""
        found = self._pairs
        if found is None or found.model is not model or found.state is not self.state:
            theirs = {name: tensor for name, tensor in model.state_dict().items() if name in self.state}
            both = [(self.state[name], tensor) for name, tensor in theirs.items()]
            floats = [pair for pair in both if pair[1].is_floating_point()]
            others = [pair for pair in both if not pair[1].is_floating_point()]
            self._pairs = found = _Pairs(model, self.state, floats, others)
        return found

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
