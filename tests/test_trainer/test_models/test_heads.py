"""Temporal heads: golden values, and each head against a second formula in plain torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from trainer.errors import RecipeError
from trainer.models.heads import Change, Concat, Conv1D, Experts, Head, Lstm, MeanP, Transf, TransfCls
from trainer.models.heads.experts import TEMPERATURES, merged
from trainer.models.heads.saliency import saliency, salient_cosines

ITEMS = torch.randn(5, 8, 128, generator=torch.Generator().manual_seed(0))


def built(part: Head, seed: int = 0) -> Any:
    """A head for windows [m, 8, 128] in evaluation, none of whose weights is at a value that hides a mistake."""
    torch.manual_seed(seed)
    head: Any = part.build(128, 8).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return head


def count(part: Head, dimensions: int = 512, frames: int = 8) -> int:
    """How many parameters a head has."""
    return sum(parameter.numel() for parameter in part.build(dimensions, frames).parameters())


def attention(states: Tensor, layer: Any, heads: int) -> Tensor:
    """Multi-head self-attention, one window and one head at a time."""
    width = states.shape[-1] // heads
    q, k, v = (states @ layer.in_proj_weight.t() + layer.in_proj_bias).chunk(3, dim=-1)
    rows = []
    for window in range(len(states)):
        parts = []
        for head in range(heads):
            at = slice(head * width, (head + 1) * width)
            shares = torch.softmax(q[window, :, at] @ k[window, :, at].t() / width**0.5, dim=-1)
            parts.append(shares @ v[window, :, at])
        rows.append(torch.cat(parts, dim=-1))
    return torch.stack(rows) @ layer.out_proj.weight.t() + layer.out_proj.bias


def normed(states: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Layer normalisation, written out."""
    spread = (states - states.mean(-1, keepdim=True)) / (states.var(-1, keepdim=True, unbiased=False) + norm.eps).sqrt()
    return spread * norm.weight + norm.bias


def mlp(states: Tensor, first: Tensor, first_bias: Tensor, last: Tensor, last_bias: Tensor) -> Tensor:
    """Two linear maps with QuickGELU, x sigma(1.702 x), between them."""
    inside = states @ first.t() + first_bias
    return (inside / (1 + torch.exp(-1.702 * inside))) @ last.t() + last_bias


def test_golden_convolution_at_its_start() -> None:
    """T = 5, D = 4, X[t] = (t + 1)(1, 10, 100, 1000): golden values, which a reshape for a transpose misses.

    channel 0 takes the item before, 1 and 2 their own, 3 the item after; all are added to X and averaged.
    """
    items = torch.arange(1.0, 6.0)[:, None] * torch.tensor([1.0, 10.0, 100.0, 1000.0])
    head: Any = Conv1D().build(4, 5)
    assert head(items[None])[0].tolist() == pytest.approx([5.0, 60.0, 600.0, 5800.0])
    mixed = (head.shift(items.view(1, 4, 5)).view(1, 5, 4) + items).mean(dim=1)
    assert not torch.allclose(head(items[None]), mixed, rtol=0.1)


def test_golden_parameter_counts() -> None:
    """Transf 18.9 M, LSTM 2.10 M, Conv1D three taps per channel, at D = 512; experts cost a Transf once merged."""
    block = 4 * 512 * 512 + 4 * 512 + 2 * 4 * 512 * 512 + 5 * 512 + 4 * 512
    assert count(Transf(layers=6)) == 6 * block + 8 * 512 == 18_918_400
    assert count(Lstm()) == 4 * (2 * 512 * 512 + 2 * 512) == 2_101_248
    assert count(Conv1D()) == 3 * 512
    assert count(MeanP()) == 0
    head = merged(Experts(layers=6).build(512, 8))
    assert sum(parameter.numel() for parameter in head.parameters()) == 18_918_400


def test_the_mean_and_the_concatenation_are_sums_over_the_window() -> None:
    """MeanP: a sum over T; Concat: a map of its own for every place, added to it."""
    mean = sum(ITEMS[:, place] for place in range(8)) / 8
    assert torch.allclose(MeanP().build(128, 8)(ITEMS), mean, atol=1e-6)
    head = built(Concat())
    maps = head.map.weight.view(128, 8, 128)
    expected = mean + sum(ITEMS[:, place] @ maps[:, place].t() for place in range(8))
    assert torch.allclose(head(ITEMS), expected, atol=1e-5)


def test_change_is_a_sum_of_distances_per_channel() -> None:
    """`c + W norm(...)`, written out: per channel and span the mean |x[t+s] - x[t]|, which a batch centres."""
    head = built(Change(spans=(1, 3)))
    rows = [sum((ITEMS[:, at + span] - ITEMS[:, at]).abs() for at in range(8 - span)) / (8 - span) for span in (1, 3)]
    stats = torch.cat([torch.as_tensor(row) for row in rows], dim=-1)
    centre, spread = 0.3 * torch.ones(256), 2.0 * torch.ones(256)
    head.norm.running_mean.copy_(centre)
    head.norm.running_var.copy_(spread)
    expected = head.map.bias + ((stats - centre) / (spread + 1e-5).sqrt()) @ head.map.weight.t()
    assert torch.allclose(head(ITEMS), expected, atol=1e-5)
    head.train()
    assert torch.allclose(head(ITEMS).mean(dim=0), head.map.bias, atol=1e-5)


def test_change_sees_neither_the_place_nor_the_direction_of_time() -> None:
    """A constant added to all items, and the items in reverse, change nothing; standing still is not moving."""
    head = built(Change())
    place = torch.randn(128, generator=torch.Generator().manual_seed(5))
    assert torch.allclose(head(ITEMS + place), head(ITEMS), atol=1e-5)
    assert torch.allclose(head(ITEMS.flip(1)), head(ITEMS), atol=1e-5)
    still = head(ITEMS[:, :1].expand(-1, 8, -1))
    assert torch.allclose(still, still[:1].expand(5, -1), atol=1e-6) and not torch.allclose(
        head(ITEMS), still, atol=1e-2
    )


def test_change_starts_as_one_direction_and_learns() -> None:
    """Untrained, every window is the same vector, of length about one; the map has a gradient all the same."""
    torch.manual_seed(0)
    head: Any = Change().build(128, 8)
    out = head(ITEMS)
    assert torch.equal(out, out[:1].expand(5, -1)) and float(out[0].detach().norm()) == pytest.approx(1.0, abs=0.3)
    (F.normalize(out, dim=-1) * torch.randn(5, 128)).sum().backward()
    assert bool(head.map.weight.grad.any())


def test_the_convolution_is_three_taps_per_channel() -> None:
    """y[t] = a x[t-1] + b x[t] + c x[t+1] + x[t], zeros beyond the window."""
    head = built(Conv1D())
    before, own, after = head.shift.weight[:, 0].unbind(dim=-1)
    padded = F.pad(ITEMS, (0, 0, 1, 1))
    moved = before * padded[:, :-2] + own * ITEMS + after * padded[:, 2:]
    assert torch.allclose(head(ITEMS), (moved + ITEMS).mean(dim=1), atol=1e-5)


def test_the_recurrent_head_is_the_equations_of_an_lstm() -> None:
    """Gates, cell and state step by step; `LSTM(X) + X`, mean over the window."""
    head = built(Lstm())
    lstm, state, cell, outputs = head.lstm, torch.zeros(5, 128), torch.zeros(5, 128), []
    for place in range(8):
        gates = ITEMS[:, place] @ lstm.weight_ih_l0.t() + lstm.bias_ih_l0 + state @ lstm.weight_hh_l0.t()
        enter, keep, candidate, out = (gates + lstm.bias_hh_l0).chunk(4, dim=-1)
        cell = keep.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
        state = out.sigmoid() * cell.tanh()
        outputs.append(state + ITEMS[:, place])
    assert torch.allclose(head(ITEMS), torch.stack(outputs, dim=1).mean(dim=1), atol=1e-5)


def test_the_transformer_is_pre_norm_blocks_around_the_items() -> None:
    """`TE(X + P) + X`: two attention heads of 64, MLP of 4D, QuickGELU, eps 1e-12, no final norm."""
    head = built(Transf(layers=2, init="paper"))
    states = ITEMS + head.positions
    for block in head.blocks:
        states = states + attention(normed(states, block.ln_1), block.attn, 2)
        first, last = block.mlp.c_fc, block.mlp.c_proj
        states = states + mlp(normed(states, block.ln_2), first.weight, first.bias, last.weight, last.bias)
    assert torch.allclose(head(ITEMS), (states + ITEMS).mean(dim=1), atol=1e-5)


def test_the_class_token_is_post_norm_layers_of_the_release() -> None:
    """CLS and T items, eight attention heads, feed-forward width 2048 with ReLU, the normalised CLS, no residual."""
    head = built(TransfCls(layers=2))
    assert head.positions.shape == (1, 9, 128) and head.layers[0].linear1.weight.shape == (2048, 128)
    states = torch.cat((head.token.expand(5, -1, -1), ITEMS), dim=1) + head.positions
    for layer in head.layers:
        states = normed(states + attention(states, layer.self_attn, 8), layer.norm1)
        inside = (states @ layer.linear1.weight.t() + layer.linear1.bias).clamp_min(0)
        states = normed(states + inside @ layer.linear2.weight.t() + layer.linear2.bias, layer.norm2)
    assert torch.allclose(head(ITEMS), normed(states, head.norm)[:, 0], atol=1e-5)


def through_experts(head: Any, mixtures: list[Tensor]) -> Tensor:
    """Transf whose MLP in each block has the weighted sum of the experts' weights."""
    states = ITEMS + head.positions
    for block, mixture in zip(head.blocks, mixtures, strict=True):
        states = states + attention(normed(states, block.ln_1), block.attn, 2)
        weights = [
            sum(share * part for share, part in zip(mixture, getattr(block.experts, name), strict=True))
            for name in ("first", "first_bias", "last", "last_bias")
        ]
        states = states + mlp(normed(states, block.ln_2), *weights)
    return (states + ITEMS).mean(dim=1)


def test_experts_are_averaged_in_evaluation_and_drawn_in_training() -> None:
    """Evaluation and the merged head: the plain average; training: one expert per block for the whole batch."""
    head = built(Experts(layers=2))
    expected = through_experts(head, [torch.full((4,), 0.25)] * 2)
    assert torch.allclose(head(ITEMS), expected, atol=1e-5)
    assert torch.allclose(merged(head)(ITEMS), expected, atol=1e-5)
    paths = {(one, other): through_experts(head, [F.one_hot(torch.tensor(index), 4).float() for index in (one, other)])
             for one in range(4) for other in range(4)}  # fmt: skip
    torch.manual_seed(1)
    head.train()
    drawn = [next(path for path, way in paths.items() if torch.allclose(out, way, atol=1e-5))
             for out in (head(ITEMS) for _ in range(200))]  # fmt: skip
    last = [path[0] for path in drawn].count(3) / 200
    assert last == pytest.approx(0.644, abs=0.1)  # softmax(1, 2, 3, 4)


def test_the_merged_path_weighs_experts_at_a_drawn_temperature() -> None:
    """Every output is that of softmax(i / temperature) for one of the eleven temperatures."""
    head = built(Experts(layers=1))
    assert sorted(map(abs, TEMPERATURES))[:2] == [0.6, 0.6] and len(TEMPERATURES) == 11
    ways = [through_experts(head, [(torch.arange(1.0, 5) / drawn).softmax(dim=0)]) for drawn in TEMPERATURES]
    torch.manual_seed(0)
    for _ in range(20):
        out = head.merged_path(ITEMS)
        assert any(torch.allclose(out, way, atol=1e-4) for way in ways)


@pytest.mark.parametrize("part", [Transf(layers=2), Conv1D(init="identity"), Lstm(init="identity"), Experts(layers=2),
                                  Concat()])  # fmt: skip
def test_identity_start_has_the_direction_of_the_mean(part: Head) -> None:
    """Untrained, the head says what MeanP says (cosine 1); and it can learn: some gradient is not zero."""
    torch.manual_seed(0)
    head = part.build(128, 8)
    out = head(ITEMS)
    assert F.cosine_similarity(out, ITEMS.mean(dim=1), dim=-1).tolist() == pytest.approx([1.0] * 5, abs=1e-6)
    out.square().sum().backward()
    assert any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in head.parameters())


@pytest.mark.parametrize("part", [Transf(layers=1, init="paper"), Conv1D(), Lstm(), TransfCls(layers=1),
                                  Experts(layers=1, init="paper")])  # fmt: skip
def test_the_published_start_sees_the_order(part: Head) -> None:
    """The items in reverse give another output, which MeanP cannot do; and the start is not the mean's direction."""
    head = built(part)
    assert not torch.allclose(head(ITEMS), head(ITEMS.flip(1)), atol=1e-4)
    torch.manual_seed(0)
    cosines = F.cosine_similarity(part.build(128, 8).eval()(ITEMS), ITEMS.mean(dim=1), dim=-1)
    assert float(cosines.detach().min()) < 0.9999


def test_saliency_weighs_frames_by_the_words_of_a_label() -> None:
    """Against loops over clips, labels, words and frames; unused tokens do not count; a frame that shows it wins."""
    generator = torch.Generator().manual_seed(3)
    words, labels = torch.randn(3, 4, 128, generator=generator), torch.randn(3, 128, generator=generator)
    used = torch.tensor([[True, True, False, False], [True, True, True, True], [True, False, False, False]])
    shares = saliency(ITEMS, words, used)
    found = salient_cosines(ITEMS, words, used, labels)
    for clip in range(5):
        for label in range(3):
            rows = [torch.stack([F.cosine_similarity(words[label, word], frame, dim=0) for frame in ITEMS[clip]]) / 0.01
                    for word in range(4) if used[label, word]]  # fmt: skip
            expected = torch.stack([torch.softmax(row, dim=0) for row in rows]).mean(dim=0)
            assert torch.allclose(shares[clip, label], expected, atol=1e-5)
            pooled = sum(share * frame for share, frame in zip(expected, ITEMS[clip], strict=True))
            assert torch.allclose(found[clip, label], F.cosine_similarity(pooled, labels[label], dim=0), atol=1e-5)
    shown = ITEMS.clone()
    shown[0, 5] = words[2, 0]
    assert float(saliency(shown, words, used)[0, 2, 5]) > 0.99


def test_what_cannot_be_built_is_refused() -> None:
    """An unknown head, a setting that a head has not, and widths that the attention heads do not divide."""
    known = TypeAdapter(Head)
    assert known.validate_python({"layers": 2}) == Transf(layers=2)
    with pytest.raises(RecipeError, match=r"items 8 apart, and a window has 8; lower head\.spans"):
        Change(spans=(1, 8)).build(128, 8)
    for wrong in ({"architecture": "lstm2"}, {"architecture": "meanp", "layers": 2},
                  {"architecture": "experts", "experts": 1}, {"architecture": "change", "spans": []},
                  {"architecture": "change", "spans": [0]}):  # fmt: skip
        with pytest.raises(ValidationError, match=r"lstm2|layers|experts|spans"):
            known.validate_python(wrong)
    for part in (Transf(), Experts()):
        with pytest.raises(RecipeError, match="64 divides"):
            part.build(100, 8)
    with pytest.raises(RecipeError, match="8 divides"):
        TransfCls().build(100, 8)
