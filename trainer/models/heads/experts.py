"""A transformer over the window whose MLPs are several experts, which become one when training is over (MoTE)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.models.heads.transformer import TemporalTransformer

TEMPERATURES = (*(sign * 0.6 * 2**power for power in range(5) for sign in (1, -1)), float("inf"))
"""Of the softmax by which the merged path weighs the experts; one is drawn per step (MoTE)."""


class Experts(nn.Module):
    """E MLPs of width 4D with QuickGELU, computed as one whose weights are a mixture of theirs."""

    def __init__(self, width: int, count: int):
        super().__init__()
        self.first = nn.Parameter(torch.empty(count, 4 * width, width))
        self.first_bias = nn.Parameter(torch.zeros(count, 4 * width))
        self.last = nn.Parameter(torch.empty(count, width, 4 * width))
        self.last_bias = nn.Parameter(torch.zeros(count, width))

    def forward(self, states: Tensor, mixture: Tensor) -> Tensor:
        """[m, T, D] -> [m, T, D]; mixture [E] says how much each expert's weights count."""
        first, first_bias, last, last_bias = (
            torch.tensordot(mixture, part, dims=1) for part in (self.first, self.first_bias, self.last, self.last_bias)
        )
        inside = F.linear(states, first, first_bias)
        return F.linear(inside * torch.sigmoid(1.702 * inside), last, last_bias)


class ExpertBlock(nn.Module):
    """A pre-norm block as in Transf, with experts in place of its MLP."""

    def __init__(self, width: int, count: int):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, 1e-12)
        self.attn = nn.MultiheadAttention(width, width // 64, batch_first=True)
        self.ln_2 = nn.LayerNorm(width, 1e-12)
        self.experts = Experts(width, count)

    def forward(self, states: Tensor, mixture: Tensor) -> Tensor:
        """[m, T, D] -> [m, T, D]."""
        given = self.ln_1(states)
        states = states + self.attn(given, given, given, need_weights=False)[0]
        mixed: Tensor = self.experts(self.ln_2(states), mixture)
        return states + mixed


class ExpertTransformer(nn.Module):
    """Transf with E experts per block.

    In training every call sends the whole batch through one expert per block, the i-th with a probability of
    softmax(1, ..., E)_i. In evaluation, and once `merge` was called for an export, the plain average of the experts
    computes: size and cost of Transf. Source: MoTE (NeurIPS'24).
    """

    def __init__(self, dimensions: int, frames: int, layers: int, experts: int, init: Literal["paper", "identity"]):
        super().__init__()
        self.positions = nn.Parameter(torch.empty(frames, dimensions))
        self.blocks = nn.ModuleList(ExpertBlock(dimensions, experts) for _ in range(layers))
        self.count = experts
        nn.init.normal_(self.positions, std=0.02)
        for block in self.blocks:
            assert isinstance(block, ExpertBlock)
            for weight in (block.attn.out_proj.weight, block.experts.first, block.experts.last):
                nn.init.normal_(weight, std=0.02)
            if init == "identity":
                nn.init.zeros_(block.attn.out_proj.weight)
                nn.init.zeros_(block.experts.last)
        if init == "identity":
            nn.init.zeros_(self.positions)

    def forward(self, items: Tensor) -> Tensor:
        """[m, T, D] -> [m, D]."""
        if not self.training:
            return self._through(items, [self._evenly(items)] * len(self.blocks))
        shares = torch.arange(1.0, self.count + 1).softmax(dim=0)
        drawn = torch.multinomial(shares, len(self.blocks), replacement=True)
        paths = F.one_hot(drawn, self.count).to(items)
        return self._through(items, list(paths))

    def merged_path(self, items: Tensor) -> Tensor:
        """[m, T, D] -> [m, D] by experts merged with softmax(i / temperature), the temperature drawn."""
        drawn = TEMPERATURES[int(torch.randint(len(TEMPERATURES), ()))]
        mixture = (torch.arange(1.0, self.count + 1) / drawn).softmax(dim=0).to(items)
        return self._through(items, [mixture] * len(self.blocks))

    def merge(self) -> TemporalTransformer:
        """Transf with the average of the experts in each block."""
        frames, width = self.positions.shape
        head = TemporalTransformer(width, frames, len(self.blocks), "paper")
        names = {"first": "c_fc.weight", "first_bias": "c_fc.bias", "last": "c_proj.weight", "last_bias": "c_proj.bias"}
        state = {}
        for name, tensor in self.state_dict().items():
            place, inside, part = name.rpartition("experts.")
            state[f"{place}mlp.{names[part]}" if inside else name] = tensor.mean(dim=0) if inside else tensor
        head.load_state_dict(state)
        return head.to(self.positions.device).train(self.training)

    def _evenly(self, items: Tensor) -> Tensor:
        return items.new_full((self.count,), 1 / self.count)

    def _through(self, items: Tensor, mixtures: list[Tensor]) -> Tensor:
        states = items + self.positions
        for block, mixture in zip(self.blocks, mixtures, strict=True):
            states = block(states, mixture)
        return (states + items).mean(dim=1)


def merged(head: nn.Module) -> nn.Module:
    """The head as it is served: experts become one, any other head stays what it is."""
    return head.merge() if isinstance(head, ExpertTransformer) else head
