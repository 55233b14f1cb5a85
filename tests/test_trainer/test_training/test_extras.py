"""Further parts of the loss of clips."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trainer.models.heads import Change, Concat, Experts
from trainer.models.heads.experts import ExpertTransformer
from trainer.recipes.loss import Loss
from trainer.training.extras import Outputs, merged_experts, ridge

ITEMS = torch.randn(6, 4, 64, generator=torch.Generator().manual_seed(0))


def outputs(items: torch.Tensor, loss: Callable[[torch.Tensor], torch.Tensor]) -> Outputs:
    """What a model made of features, with captions that say nothing."""
    return Outputs(torch.zeros(6, 4, 64), items, torch.zeros(6, 8, dtype=torch.int64), torch.zeros(6, 64), loss)


@pytest.fixture
def head() -> ExpertTransformer:
    """Two blocks of four experts in training, none of which says what another says."""
    torch.manual_seed(0)
    found = Experts(layers=2, init="paper").build(64, 4)
    assert isinstance(found, ExpertTransformer)
    return found.train()


def test_merged_experts_learn_beside_the_drawn_path(head: ExpertTransformer) -> None:
    """Half of the main loss of the merged path, a tenth of its squared distance from the mean, as MoTE has them."""
    seen = []

    def loss(embeddings: torch.Tensor) -> torch.Tensor:
        seen.append(embeddings)
        return embeddings.sum()

    found = merged_experts(head, Loss(), outputs(ITEMS, loss))
    distances = [np.sum((one - other) ** 2) for one, other in zip(
        seen[0].detach().numpy(), F.normalize(ITEMS.mean(dim=1), dim=-1).numpy(), strict=True)]  # fmt: skip
    assert found["merged"].item() == pytest.approx(0.5 * seen[0].sum().item(), rel=1e-5)
    assert found["anchor"].item() == pytest.approx(0.1 * float(np.mean(distances)), rel=1e-5)
    torch.autograd.backward(list(found.values()))
    learned = head.blocks[0].experts.last.grad  # type: ignore[union-attr]
    assert learned is not None and all(bool(expert.any()) for expert in learned)


def test_single_frames_pass_no_head_and_have_no_experts(head: ExpertTransformer) -> None:
    """A stage of single frames adds nothing."""
    assert merged_experts(head, Loss(), outputs(ITEMS[:, :1], torch.sum)) == {}


def test_the_ridge_is_the_squares_of_the_matrices() -> None:
    """Every entry of every matrix, weighted; a constant is free. Its gradient draws each weight back by its size."""
    for part, count in ((Change(spans=(1, 2)), 64 * 128), (Concat(), 64 * 256)):
        head = part.build(64, 4)
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.fill_(0.5)
        found = ridge(head, Loss(ridge=3.0), outputs(ITEMS, torch.sum))
        assert list(found) == ["ridge"] and found["ridge"].item() == pytest.approx(3 * count * 0.25)
        found["ridge"].backward()
        gradients = {name: parameter.grad for name, parameter in head.named_parameters()}
        assert all(torch.allclose(gradients[name], torch.tensor(3.0)) for name in gradients if name == "map.weight")
        assert gradients.get("map.bias") is None
