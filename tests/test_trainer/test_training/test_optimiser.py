"""Learning rates, parameter groups, and AdamW with Muon for matrices."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import nn

from engines.bundle.manifest import Input
from trainer.models.blueprint import Blueprint
from trainer.models.video_text import VideoTextModel
from trainer.recipe import Optimiser, Recipe
from trainer.training.optimiser import AdamMuon, build_optimiser, learning_rate, orthogonal, rate_at, set_rate


def model_of(image: nn.Module, head: nn.Module, words: nn.Module) -> VideoTextModel:
    """A model of these parts, which the optimiser only counts."""
    clip = nn.ModuleDict({"visual": image, "words": words})
    clip.logit_scale = nn.Parameter(torch.zeros(()))
    form = Input(height=2, width=2, resize="area", crop="squash", mean=(0,) * 3, std=(1,) * 3)
    blueprint = Blueprint(name="test", form=form, dimensions=1, config={})
    return VideoTextModel(clip, head, Tokenizer(WordLevel({"a": 0}, "a")), frames=1, blueprint=blueprint)


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0, 0), (1, 1e-6), (2.5, 2.5e-6), (5, 5e-6), (10, 4.849e-6), (27.5, 2.5e-6), (40, 5.849e-7), (50, 0)],
)
def test_golden_learning_rates(epoch: float, rate: float) -> None:
    """Linear from zero over five epochs, then a cosine to zero at fifty."""
    assert learning_rate(epoch, base=5e-6, warmup=5, total=50) == pytest.approx(rate, rel=2e-4, abs=1e-12)


def test_groups_learn_at_their_ratios() -> None:
    """Text tower, image tower and head get their shares of the rate, and every parameter is in exactly one group."""
    image, head = nn.Linear(2, 3), nn.Linear(4, 5)
    optimiser = build_optimiser(Optimiser(image_ratio=0.5, head_ratio=10.0), model_of(image, head, nn.Embedding(6, 7)))
    set_rate(optimiser, 1e-3)
    sizes = {group["lr"]: sum(parameter.numel() for parameter in group["params"]) for group in optimiser.param_groups}
    ratio = Optimiser().text_ratio
    assert sizes == pytest.approx({1e-3 * ratio: 42 + 1, 5e-4: 9, 1e-2: 25})


def test_what_is_frozen_is_in_no_group_and_the_scale_then_learns_with_the_head() -> None:
    """Text tower frozen: its 42 weights have no moments, the scale goes at the rate of the head."""
    words = nn.Embedding(6, 7).requires_grad_(False)
    optimiser = build_optimiser(Optimiser(head_ratio=10.0), model_of(nn.Linear(2, 3), nn.Linear(4, 5), words))
    sizes = {group["ratio"]: sum(one.numel() for one in group["params"]) for group in optimiser.param_groups}
    assert sizes == {1.0: 9, 10.0: 25 + 1}


def test_a_frozen_stage_begins_its_own_curve(tiny_recipe: Recipe) -> None:
    """While the tower learns the rate goes down once over all stages; a frozen stage warms up and goes down anew.

    rate  /\\__      /\\_
    step  0     49 50  64
    """
    rates = [rate_at(tiny_recipe, step) for step in range(tiny_recipe.steps)]
    warmup = tiny_recipe.optimiser.warmup_steps
    assert rates[warmup - 1] == pytest.approx(tiny_recipe.optimiser.rate)
    assert all(later < earlier for earlier, later in zip(rates[warmup - 1 : 49], rates[warmup:50], strict=True))
    assert rates[49] < 1e-5 and rates[50] == pytest.approx(tiny_recipe.stages[-1].rate / warmup)
    assert max(rates[50:]) == pytest.approx(tiny_recipe.stages[-1].rate) and rates[-1] < 1e-4


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
    optimiser = build_optimiser(settings, model_of(tower, nn.Linear(1, 1), nn.Linear(1, 1)))
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
