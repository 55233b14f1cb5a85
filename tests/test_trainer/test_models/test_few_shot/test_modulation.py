"""The modulation of prototypes, against its formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.errors import RecipeError
from trainer.models.few_shot import FewShot
from trainer.models.few_shot.modulation import Modulation, merged

ITEMS = torch.randn(3, 8, 64, generator=torch.Generator().manual_seed(0))
TEXTS = torch.randn(3, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def modulation() -> Modulation:
    """Two blocks over items of width 64, without dropout."""
    torch.manual_seed(0)
    return FewShot(layers=2, hidden=96, init="paper").build(64, 8, 3).modulation.eval()


@pytest.mark.parametrize(("dimensions", "count"), [(512, 3_149_824), (1024, 8_394_752)])
def test_it_has_the_weights_of_the_release(dimensions: int, count: int) -> None:
    """3.15 M at D = 512 and 8.39 M at D = 1024."""
    assert sum(parameter.numel() for parameter in FewShot().build(dimensions, 8, 5).parameters()) == count


def test_golden_modulation_is_the_formula(modulation: Modulation) -> None:
    """Written a second time from the formula, head by head, in plain torch."""

    def block(x: Tensor, part: torch.nn.Module) -> Tensor:
        state = dict(part.named_parameters())
        normed = F.layer_norm(x, (64,), state["norm.weight"], state["norm.bias"])
        wq, wk, wv = state["query_key_value.weight"].chunk(3)
        heads = []
        for head in range(8):
            rows = slice(8 * head, 8 * head + 8)
            q, k, v = (normed @ w[rows].t() for w in (wq, wk, wv))
            heads.append(torch.softmax(q @ k.mT / 8**0.5, dim=-1) @ v)
        x = x + torch.cat(heads, dim=-1) @ state["out.weight"].t() + state["out.bias"]
        wide = F.gelu(x @ state["widen.weight"].t() + state["widen.bias"])
        return x + wide @ state["narrow.weight"].t() + state["narrow.bias"]

    expected = torch.cat((ITEMS, TEXTS[:, None]), dim=1)
    for part in modulation.blocks:
        expected = block(expected, part)
    torch.testing.assert_close(modulation.prototypes(ITEMS, TEXTS), expected[:, :8], atol=1e-5, rtol=0)


def test_the_text_changes_prototypes_and_no_query(modulation: Modulation) -> None:
    """The class is known of supports only; queries pass without a text."""
    assert not torch.allclose(modulation.prototypes(ITEMS, TEXTS), modulation.queries(ITEMS), atol=1e-3)
    assert not torch.allclose(modulation.prototypes(ITEMS, TEXTS), modulation.prototypes(ITEMS, -TEXTS), atol=1e-3)


def test_several_examples_of_a_class_are_averaged_before() -> None:
    """ "Merge before": five clips count as the frame by frame average of them."""
    clips = torch.randn(2, 5, 8, 64, generator=torch.Generator().manual_seed(2))
    assert torch.equal(merged(clips), sum(clips.unbind(1)) / 5) or torch.allclose(merged(clips), clips.mean(1))
    assert torch.allclose(merged(clips[:, :1]), clips[:, 0])


def test_a_width_that_heads_cannot_share_is_an_error_of_the_recipe() -> None:
    """The message names the width."""
    with pytest.raises(RecipeError, match="60"):
        FewShot().build(60, 8, 5)


def test_an_identity_start_passes_the_frames_on() -> None:
    """Then an untrained model compares as frame-wise cosines do; the first step already moves it."""
    modulation = FewShot(hidden=32).build(64, 8, 3).modulation.eval()
    assert torch.equal(modulation.queries(ITEMS), ITEMS) and torch.equal(modulation.prototypes(ITEMS, TEXTS), ITEMS)
    modulation.prototypes(ITEMS, TEXTS).sum().backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in modulation.parameters() if parameter.grad is not None]
    assert any(float(gradient.abs().sum()) > 0 for gradient in gradients)
