"""Temporal heads."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from trainer.errors import RecipeError
from trainer.models import heads
from trainer.models.heads import mean_pool

ITEMS = torch.randn(5, 8, 128, generator=torch.Generator().manual_seed(0))


def test_identity_start_has_the_direction_of_the_mean() -> None:
    """An untrained Transf head with `identity` says what MeanP says (cosine 1)."""
    head = heads.build("transf", 128, 8, 3, "identity")
    cosine = F.cosine_similarity(head(ITEMS), mean_pool.MeanP()(ITEMS), dim=-1)
    assert cosine.tolist() == pytest.approx([1.0] * 5, abs=1e-6)


def test_paper_start_differs_and_sees_the_order() -> None:
    """With the paper's start positions make the order of the frames matter, which MeanP cannot see."""
    torch.manual_seed(0)
    head = heads.build("transf", 128, 8, 2, "paper")
    torch.nn.init.normal_(head.positions, std=1.0)
    assert not torch.allclose(head(ITEMS), head(ITEMS.flip(1)), atol=1e-3)
    assert torch.allclose(mean_pool.MeanP()(ITEMS), mean_pool.MeanP()(ITEMS.flip(1)), atol=1e-6)


def test_what_cannot_be_built_is_refused() -> None:
    """An unknown head and a width that 64 does not divide are errors of the recipe."""
    with pytest.raises(RecipeError, match="no head is called"):
        heads.build("lstm2", 128, 8, 1, "paper")
    with pytest.raises(RecipeError, match="64 divides"):
        heads.build("transf", 100, 8, 1, "paper")
