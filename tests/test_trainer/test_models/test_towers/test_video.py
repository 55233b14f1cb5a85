"""Visual prompts: Joint and Shift against second formulas over open_clip's own blocks."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
import timm
import torch
from torch import Tensor, nn

from trainer.errors import RecipeError
from trainer.models.heads import MeanP, Transf
from trainer.models.settings import Model
from trainer.models.towers.prompts import Joint, Shift
from trainer.models.towers.video import JointTower, ShiftTower, VideoTower, shifted

WINDOWS = torch.randn(2, 4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def visual(published_name: str) -> Any:
    """A vision transformer of two blocks, four patches and width 64, as open_clip builds it."""
    torch.manual_seed(5)
    return open_clip.create_model(published_name).visual.eval()


def embedded(visual: Any, image: Tensor) -> tuple[Tensor, Tensor]:
    """The class token and the patches of one picture [3, H, W] before ln_pre, patch by patch."""
    size = visual.patch_size[0]
    kernel = visual.conv1.weight.flatten(1)
    pieces = [image[:, y : y + size, x : x + size].flatten() for y in range(0, 64, size) for x in range(0, 64, size)]
    patches = torch.stack([kernel @ piece for piece in pieces]) + visual.positional_embedding[1:]
    return visual.class_embedding + visual.positional_embedding[0], patches


def read(visual: Any, token: Tensor) -> Tensor:
    """What a class token says."""
    return torch.nn.functional.layer_norm(token, token.shape, visual.ln_post.weight, visual.ln_post.bias) @ visual.proj


@torch.no_grad()
def test_without_a_prompt_the_steps_are_the_tower(visual: Any) -> None:
    """Tokens, blocks and pooled give what open_clip gives for every frame, under open_clip's names of weights."""
    expected = torch.stack([visual(window) for window in WINDOWS])
    names = visual.state_dict().keys()
    tower = VideoTower(visual)
    assert torch.allclose(tower(WINDOWS), expected, atol=1e-5)
    assert tower.state_dict().keys() == names
    assert (tower.kind, tower.history, tower.tokens(WINDOWS).shape) == ("frame", 0, (2, 4, 5, 64))


@torch.no_grad()
def test_joint_is_one_sequence_of_all_patches_with_one_class_token(visual: Any) -> None:
    """[CLS, N T patches], time added to patches alone, ln_pre, full attention, the class token read: [b, 1, D]."""
    tower = JointTower(visual, 4)
    assert tower.tokens(WINDOWS).shape == (2, 1, 1 + 4 * 4, 64)
    assert 0.5 * 64**-0.5 < float(tower.time_embedding.std()) < 2 * 64**-0.5
    for window, found in zip(WINDOWS, tower(WINDOWS), strict=True):
        parts = [embedded(visual, image) for image in window]
        sequence = torch.cat([parts[0][0][None], *(
            patches + tower.time_embedding[place] for place, (_, patches) in enumerate(parts))])  # fmt: skip
        states = visual.ln_pre(sequence[None])
        for block in visual.transformer.resblocks:
            states = block(states)
        assert torch.allclose(found[0], read(visual, states[0, 0]), atol=1e-5)


@torch.no_grad()
def test_joint_sees_the_order_by_its_embedding_of_time_alone(visual: Any) -> None:
    """With zeros for time the frames may come in any order."""
    tower = JointTower(visual, 4)
    tower.time_embedding.normal_(std=1.0)
    assert not torch.allclose(tower(WINDOWS), tower(WINDOWS.flip(1)), atol=1e-3)
    tower.time_embedding.zero_()
    assert torch.allclose(tower(WINDOWS), tower(WINDOWS.flip(1)), atol=1e-5)


def test_golden_tokens_of_joint() -> None:
    """B/16 with 8 frames: 1569 tokens; B/32: 393."""
    for patch, tokens in ((16, 1569), (32, 393)):
        assert 1 + 8 * (224 // patch) ** 2 == tokens
        with torch.device("meta"):
            clip = open_clip.CLIP(**open_clip.get_model_config(f"ViT-B-{patch}-quickgelu"))
            tower = JointTower(clip.visual, 8)
            assert tower.tokens(torch.zeros(1, 8, 3, 224, 224)).shape == (1, 1, tokens, 768)


def test_shift_moves_two_eighths_of_the_patches_and_no_class_token() -> None:
    """Frame t gets channels [0, w/8) of t + 1 and [w/8, w/4) of t - 1, zeros beyond the window."""
    states = torch.randn(2, 4, 5, 64, generator=torch.Generator().manual_seed(1))
    moved = shifted(states, causal=False)
    for place in range(4):
        after = states[:, place + 1, 1:, :8] if place < 3 else torch.zeros(2, 4, 8)
        before = states[:, place - 1, 1:, 8:16] if place else torch.zeros(2, 4, 8)
        assert torch.equal(moved[:, place, 1:, :8], after) and torch.equal(moved[:, place, 1:, 8:16], before)
        assert torch.equal(moved[:, place, 1:, 16:], states[:, place, 1:, 16:])
        assert torch.equal(moved[:, place, 0], states[:, place, 0])
    causal = shifted(states, causal=True)
    assert torch.equal(causal[..., 8:], moved[..., 8:]) and torch.equal(causal[..., :8], states[..., :8])


@torch.no_grad()
@pytest.mark.parametrize("placement", ["in_place", "residual"])
def test_shift_comes_before_every_block(placement: Any, visual: Any) -> None:
    """In place the skip path sees what was shifted; on the attention branch alone it does not."""
    found = ShiftTower(visual, placement, causal=False)(WINDOWS)
    states = torch.stack([torch.stack([
        visual.ln_pre(torch.cat((first[None], patches)))
        for first, patches in (embedded(visual, image) for image in window)]) for window in WINDOWS])  # fmt: skip
    for block in visual.transformer.resblocks:
        moved = shifted(states, causal=False)
        skipped = moved if placement == "in_place" else states
        rows = []
        for window, kept in zip(moved.flatten(0, 1), skipped.flatten(0, 1), strict=True):
            given = block.ln_1(window[None])
            inside = kept[None] + block.attn(given, given, given, need_weights=False)[0]
            rows.append(inside + block.mlp(block.ln_2(inside)))
        states = torch.cat(rows).view(states.shape)
    expected = torch.stack([torch.stack([read(visual, frame[0]) for frame in window]) for window in states])
    assert torch.allclose(found, expected, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("placement", ["in_place", "residual"])
def test_a_causal_shift_frame_by_frame_is_the_shift_of_the_window(placement: Any, visual: Any) -> None:
    """Two cameras, buffers from one call to the next; the item of a frame depends on two frames before it, no more."""
    tower = ShiftTower(visual, placement, causal=True)
    assert (tower.kind, tower.history) == ("frame", 2)
    long = torch.cat((WINDOWS, WINDOWS.flip(1)), dim=1)
    memory, items = tower.memory(2), []
    assert [part.shape for part in memory] == [(2, 4, 8)] * 2
    for place in range(8):
        found, memory = tower.step(long[:, place], memory)
        items.append(found)
    assert torch.allclose(torch.stack(items, dim=1), tower(long), atol=1e-5)
    later = long.clone()
    later[:, 3:] += 1
    assert torch.equal(tower(later)[:, :3], tower(long)[:, :3])
    earlier = long.clone()
    earlier[:, 0] += 1
    moved = (tower(earlier) - tower(long)).abs().amax(dim=(0, 2)) > 1e-6
    assert moved.tolist() == [True, True, True, False, False, False, False, False]


def test_only_a_causal_shift_has_a_step(visual: Any) -> None:
    """What needs the next frame cannot be computed without it."""
    tower = ShiftTower(visual, "residual", causal=False)
    with pytest.raises(ValueError, match="has no step; set causal"):
        tower.step(WINDOWS[:, 0], tower.memory(2))


def test_gradients_reach_all_weights_with_and_without_kept_activations(visual: Any) -> None:
    """Gradient checkpointing gives the same gradients; time learns."""
    tower = JointTower(visual, 4)
    gradients = []
    for recompute in (False, True):
        tower.set_grad_checkpointing(recompute)
        tower.zero_grad()
        tower(WINDOWS).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in tower.parameters()])
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(*gradients, strict=True))
    assert bool(tower.time_embedding.grad.any())


@pytest.mark.parametrize("prompt", [Joint(), Shift(), Shift(causal=True)])
def test_a_tower_that_is_no_vision_transformer_is_refused(prompt: Any, visual: Any) -> None:
    """A residual network has no tokens; a tower that pools patches has no class token to read."""
    with pytest.raises(RecipeError, match=r"needs a vision transformer of open_clip, and the tower is a ResNet"):
        prompt.build(timm.create_model("resnet10t"), 4)
    visual.pool_type = "avg"
    with pytest.raises(RecipeError, match=r"read at its class token; choose a vision transformer"):
        prompt.build(visual, 4)
    visual.pool_type, visual.patch_dropout = "tok", nn.Dropout()
    with pytest.raises(RecipeError, match=r"needs all patches"):
        prompt.build(visual, 4)


def test_joint_has_no_head() -> None:
    """One embedding per window leaves nothing to pool."""
    assert Model(prompt=Joint(), head=MeanP()).prompt.kind == "joint"
    with pytest.raises(ValueError, match=r"set head.architecture to meanp"):
        Model(prompt=Joint(), head=Transf())
