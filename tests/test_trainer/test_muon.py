"""AdamW with Muon for matrices."""

from __future__ import annotations

import torch
from torch import nn

from trainer.config import Optimiser
from trainer.muon import AdamMuon, orthogonal
from trainer.schedule import build_optimiser


def test_an_orthogonal_update_has_singular_values_near_one() -> None:
    """Of tall and of wide matrices, whatever the size of their gradients; the singular vectors stay."""
    torch.manual_seed(0)
    for shape in ((16, 144), (256, 32)):
        matrix = 1e-4 * torch.randn(shape)
        turned = orthogonal(matrix)
        values = torch.linalg.svdvals(turned)
        assert turned.shape == matrix.shape and values.min() > 0.4 and values.max() < 1.3
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        inner = left.t() @ turned @ right.t()
        assert (inner - inner.diag().diag()).abs().max() < 1e-3


def test_kernels_learn_by_muon_and_everything_else_by_adam() -> None:
    """A step moves a kernel by its rate times an orthogonal matrix, whatever its gradient; others as AdamW would."""
    torch.manual_seed(0)
    tower = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 4 * 4, 2))
    twin = nn.Linear(8 * 4 * 4, 2)
    twin.load_state_dict(tower[2].state_dict())
    settings = Optimiser(rate=1e-3, orthogonal=10, weight_decay=0)
    optimiser = build_optimiser(settings, nn.Linear(1, 1), tower, nn.Linear(1, 1))
    for group in optimiser.param_groups:
        group["lr"] = 1e-3 * group["ratio"]
    plain = torch.optim.AdamW(twin.parameters(), lr=1e-3, betas=settings.betas, eps=settings.eps, weight_decay=0)
    before = tower[0].weight.detach().clone()
    tower(torch.randn(4, 3, 6, 6)).square().sum().backward()
    twin.weight.grad, twin.bias.grad = tower[2].weight.grad.clone(), tower[2].bias.grad.clone()
    optimiser.step()
    plain.step()
    values = torch.linalg.svdvals((tower[0].weight.detach() - before).flatten(1))
    assert values.min() > 0.4e-2 and values.max() < 1.3e-2
    assert torch.equal(tower[2].weight, twin.weight) and torch.equal(tower[2].bias, twin.bias)


def test_its_state_is_saved_and_restored() -> None:
    """A restored optimiser goes on as the uncut one would."""
    torch.manual_seed(0)

    def fresh() -> tuple[nn.Parameter, AdamMuon]:
        kernel = nn.Parameter(torch.ones(4, 3, 2, 2))
        return kernel, AdamMuon([{"params": [kernel], "orthogonal": True}], lr=0.1)

    gradients = torch.randn(4, 4, 3, 2, 2)
    uncut, whole = fresh()
    first, begun = fresh()
    for step, gradient in enumerate(gradients):
        uncut.grad = gradient
        whole.step()
        if step < 2:
            first.grad = gradient
            begun.step()
    second, resumed = fresh()
    second.data.copy_(first.data)
    resumed.load_state_dict(begun.state_dict())
    for gradient in gradients[2:]:
        second.grad = gradient
        resumed.step()
    assert torch.equal(uncut, second)
