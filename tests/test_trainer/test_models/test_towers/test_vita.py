"""Vita-CLIP's tower against a second formula, token by token; what learns, and what rests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from trainer.models.towers.prompts import Vita
from trainer.models.towers.vita import VitaTower
from trainer.recipe import Recipe

FRAMES = 4
WINDOWS = torch.randn(2, FRAMES, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def visual(published_name: str) -> Any:
    """A vision transformer of two blocks, four patches and width 64, as open_clip builds it."""
    torch.manual_seed(5)
    return open_clip.create_model(published_name).visual.eval()


@pytest.fixture
def tower(visual: Any) -> VitaTower:
    """The same under prompts, three of them global."""
    torch.manual_seed(6)
    return VitaTower(visual, FRAMES, prompts=3).eval()


@torch.no_grad()
def test_golden_vita_block_is_the_formula(visual: Any, tower: VitaTower) -> None:
    """Frame by frame and by hand: [CLS, local 1..T, global, patches, summary] into attention, [CLS, global, patches]
    into the MLP, all but [CLS, patches] dropped.
    """
    states = tower.tokens(WINDOWS)
    for layer, block in enumerate(visual.transformer.resblocks):
        expected = torch.stack([_by_hand(tower, layer, block, window) for window in states])
        states = tower.block(layer, states)
        torch.testing.assert_close(states, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(tower(WINDOWS), tower.pooled(states), atol=1e-5, rtol=0)


def _by_hand(tower: VitaTower, layer: int, block: Any, window: Tensor) -> Tensor:
    projection, norm, attention = tower.class_projections[layer], tower.summary_norms[layer], tower.summaries[layer]
    classes = torch.stack([projection(frame[0]) for frame in window])
    normed = norm(classes)
    wq, wk, wv = attention.in_proj_weight.chunk(3)  # type: ignore[union-attr, operator]
    bq, bk, bv = attention.in_proj_bias.chunk(3)  # type: ignore[union-attr, operator]
    heads = []
    for head in range(attention.num_heads):  # type: ignore[arg-type]
        rows = slice(32 * head, 32 * head + 32)
        q, k, v = (normed @ w[rows].t() + b[rows] for w, b in ((wq, bq), (wk, bk), (wv, bv)))
        heads.append(torch.softmax(q @ k.t() / 32**0.5, dim=-1) @ v)
    summary = classes + attention.out_proj(torch.cat(heads, dim=-1))  # type: ignore[operator, union-attr]
    found = []
    for place, frame in enumerate(window):
        local = [tower.local_prompts[layer, other] + classes[other] for other in range(len(window))]
        parts = (frame[:1], torch.stack(local), tower.global_prompts[layer], frame[1:], summary[place][None])
        sequence = torch.cat(parts)[None]
        given = block.ln_1(sequence)
        sequence = sequence + block.attn(given, given, given, need_weights=False)[0]
        kept = torch.cat((sequence[:, :1], sequence[:, 1 + len(window) : -1]), dim=1)
        kept = kept + block.mlp(block.ln_2(kept))
        found.append(torch.cat((kept[0, :1], kept[0, 4:])))
    return torch.stack(found)


@torch.no_grad()
def test_time_is_added_to_every_token_of_a_frame(visual: Any, tower: VitaTower) -> None:
    """The class token's too, before the first norm."""
    plain = torch.stack([_embedded(visual, window) for window in WINDOWS])
    expected = visual.ln_pre(plain + tower.time_embedding[:, None])
    torch.testing.assert_close(tower.tokens(WINDOWS), expected, atol=1e-5, rtol=0)


def _embedded(visual: Any, window: Tensor) -> Tensor:
    patches = visual.conv1(window).flatten(2).transpose(1, 2)
    first = visual.class_embedding.expand(len(window), 1, -1)
    found: Tensor = torch.cat((first, patches), dim=1) + visual.positional_embedding
    return found


def test_golden_tokens_and_weights_of_vita() -> None:
    """B/16 and T = 8: 214 tokens into attention, 205 into the MLP; with the context of K400's classes 37.2 M learn."""
    with torch.device("meta"):
        clip = open_clip.CLIP(**open_clip.get_model_config("ViT-B-16-quickgelu"))
        tower = VitaTower(clip.visual, 8, prompts=8)
        states = torch.zeros(1, 8, 197, 768)
        seen: list[int] = []
        tower.transformer.resblocks[0].mlp.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1]))
        assert tower.prompted(0, states).shape == (1, 8, 214, 768)
        assert tower.block(0, states).shape == states.shape and seen == [205]
    prompts = sum(parameter.numel() for parameter in tower.anew)
    assert prompts == 73_728 + 73_728 + 12 * (4 * 768 * 768 + 4 * 768 + 2 * 768) + 12 * (768 * 768 + 768) + 8 * 768
    assert (prompts + 400 * 8 * 512) / 1e6 == pytest.approx(37.2, abs=0.1)


def test_what_is_new_learns_and_clip_rests(
    tower: VitaTower, clip_recipe: Callable[[Path], Recipe], published_name: str
) -> None:
    """Every prompt, the projections and the summaries have a gradient; nothing of CLIP has one."""
    new = {id(parameter) for parameter in tower.anew}
    for parameter in tower.parameters():
        parameter.requires_grad_(id(parameter) in new)
    tower(WINDOWS).square().sum().backward()
    for name, parameter in tower.named_parameters():
        if id(parameter) in new:
            assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, name
        else:
            assert parameter.grad is None, name


@torch.no_grad()
def test_a_window_of_another_length_takes_time_from_the_nearest_place(tower: VitaTower) -> None:
    """Eight frames for a tower of four: places 0 0 1 1 2 2 3 3. The same frames twice are the same film slower."""
    doubled = WINDOWS.repeat_interleave(2, dim=1)
    assert tower(doubled).shape == (2, 2 * FRAMES, 64)
    assert torch.equal(tower.tokens(doubled)[:, ::2], tower.tokens(WINDOWS))


@torch.no_grad()
def test_frames_know_of_each_other(tower: VitaTower) -> None:
    """Another last frame changes the first item: the tower needs the whole window."""
    changed = WINDOWS.clone()
    changed[:, -1] += 1
    assert tower.kind == "clip" and not torch.allclose(tower(changed)[:, 0], tower(WINDOWS)[:, 0], atol=1e-4)


def test_a_recipe_with_towers_that_learn_is_refused(clip_recipe: Callable[[Path], Recipe]) -> None:
    """CLIP rests for good; the message says what to set."""
    tree = clip_recipe(Path("x")).model_dump(mode="json")
    tree["model"] |= {"prompt": Vita().model_dump(), "head": {"architecture": "meanp"}}
    with pytest.raises(ValidationError, match="set freeze to V3"):
        Recipe.model_validate(tree)
