"""Temporal heads."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError

from trainer.errors import RecipeError
from trainer.models.heads import Concat, Conv1D, Head, Lstm, MeanP, Transf, TransfCls

ITEMS = torch.randn(5, 8, 128, generator=torch.Generator().manual_seed(0))


def test_identity_start_has_the_direction_of_the_mean() -> None:
    """An untrained Transf head with `identity` says what MeanP says (cosine 1)."""
    head = Transf(layers=3, init="identity").build(128, 8)
    cosine = F.cosine_similarity(head(ITEMS), MeanP().build(128, 8)(ITEMS), dim=-1)
    assert cosine.tolist() == pytest.approx([1.0] * 5, abs=1e-6)


def test_concatenation_starts_as_the_mean_and_can_tell_the_order() -> None:
    """Its map is zero at the start; any other one gives another output for the items in reverse."""
    head, mean = Concat().build(128, 8), MeanP().build(128, 8)
    assert torch.equal(head(ITEMS), mean(ITEMS))
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(head(ITEMS), head(ITEMS.flip(1)), atol=1e-3)


def test_paper_start_differs_and_sees_the_order() -> None:
    """With the paper's start positions make the order of the frames matter, which MeanP cannot see."""
    torch.manual_seed(0)
    head, mean = Transf(layers=2, init="paper").build(128, 8), MeanP().build(128, 8)
    torch.nn.init.normal_(head.positions, std=1.0)
    assert not torch.allclose(head(ITEMS), head(ITEMS.flip(1)), atol=1e-3)
    assert torch.allclose(mean(ITEMS), mean(ITEMS.flip(1)), atol=1e-6)


def test_the_convolution_starts_as_a_shift_and_keeps_channels_apart() -> None:
    """T = 5, D = 4, X[t] = (t + 1)(1, 10, 100, 1000): golden values, which a reshape for a transpose misses.

    channel 0 takes the item before, 1 and 2 their own, 3 the item after; all are added to X and averaged.
    """
    items = torch.arange(1.0, 6.0)[:, None] * torch.tensor([1.0, 10.0, 100.0, 1000.0])
    assert Conv1D().build(4, 5)(items[None])[0].tolist() == pytest.approx([5.0, 60.0, 600.0, 5800.0])


def test_the_recurrent_head_adds_what_it_saw_before() -> None:
    """`LSTM(X) + X`: without the recurrent part it is the mean; an early item changes the output of later ones."""
    torch.manual_seed(0)
    head = Lstm().build(128, 8)
    assert not torch.allclose(head(ITEMS), head(ITEMS.flip(1)), atol=1e-4)
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.allclose(head(ITEMS), ITEMS.mean(dim=1), atol=1e-6)


def test_the_class_token_has_the_layers_of_the_release() -> None:
    """Post-norm layers over CLS and T items, with a feed-forward width of 2048; an output of length sqrt(D)."""
    torch.manual_seed(0)
    head = TransfCls(layers=2).build(128, 8).eval()
    assert head.positions.shape == (1, 9, 128)
    layer = 4 * 128 * 128 + 4 * 128 + 2 * 128 * 2048 + 2048 + 128 + 4 * 128
    assert sum(parameter.numel() for parameter in head.layers.parameters()) == 2 * layer
    out = head(ITEMS)
    assert out.norm(dim=-1).tolist() == pytest.approx([128**0.5] * 5, rel=1e-3)
    assert not torch.allclose(out, head(ITEMS.flip(1)), atol=1e-5)


def test_what_cannot_be_built_is_refused() -> None:
    """An unknown head, a setting that a head has not, and widths that the attention heads do not divide."""
    known = TypeAdapter(Head)
    assert known.validate_python({"layers": 2}) == Transf(layers=2)
    for wrong in ({"architecture": "lstm2"}, {"architecture": "meanp", "layers": 2}):
        with pytest.raises(ValidationError, match=r"lstm2|layers"):
            known.validate_python(wrong)
    with pytest.raises(RecipeError, match="64 divides"):
        Transf().build(100, 8)
    with pytest.raises(RecipeError, match="8 divides"):
        TransfCls().build(100, 8)
