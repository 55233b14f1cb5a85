"""A vision transformer of open_clip over the frames of a window, in three steps: tokens, blocks, pooled.

These steps are all that ActionCLIP's visual prompts change. Joint: the patches of all frames are one sequence with one
class token. Shift: before every block some channels of each patch come from the frames beside it.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainer.errors import RecipeError

Memory = tuple[Tensor, ...]
"""Of each block the shifted channels of the frame before, [n, N, w / 8]."""


class VideoTower(nn.Module):
    """Normalised pixels of windows [b, T, 3, H, W] to items [b, t, D], not normalised; t is T unless a step says else.

    Weights keep the names that open_clip gave them. As it is, every frame is encoded by itself.
    """

    kind: Literal["frame", "clip"] = "frame"
    """Whether an item is what one frame alone, or with those before it, decides."""
    history = 0
    """Past frames that an item depends on; where there are some, `step` encodes frame by frame."""

    def __init__(self, visual: nn.Module):
        super().__init__()
        tower = _plain(visual)
        self.conv1, self.ln_pre = tower.conv1, tower.ln_pre
        self.class_embedding, self.positional_embedding = tower.class_embedding, tower.positional_embedding
        self.transformer, self.ln_post, self.proj = tower.transformer, tower.ln_post, tower.proj
        self.image_size, self.output_dim = tower.image_size, tower.output_dim

    @property
    def anew(self) -> list[nn.Parameter]:
        """The parameters that no pretrained tower has; they learn whatever else of the tower rests."""
        return []

    @property
    def layers(self) -> int:
        """L."""
        return len(self.transformer.resblocks)

    @property
    def width(self) -> int:
        """The width w of a token."""
        return int(self.class_embedding.shape[0])

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether blocks keep no activations for the backward pass, as of open_clip's towers."""
        self.transformer.grad_checkpointing = enable

    def patches(self, images: Tensor) -> Tensor:
        """[b, T, 3, H, W] to patches with their place in the picture, [b, T, N, w]."""
        flat: Tensor = self.conv1(images.flatten(0, 1)).flatten(2).transpose(1, 2)
        placed: Tensor = flat + self.positional_embedding[1:].to(flat.dtype)
        return placed.view(*images.shape[:2], *placed.shape[1:])

    def embedded(self, images: Tensor) -> Tensor:
        """[b, T, 3, H, W] to a class token and the patches of every frame before the first norm, [b, T, 1 + N, w]."""
        patches = self.patches(images)
        first = (self.class_embedding + self.positional_embedding[0]).to(patches.dtype)
        return torch.cat((first.expand(*patches.shape[:2], 1, -1), patches), dim=2)

    def tokens(self, images: Tensor) -> Tensor:
        """[b, T, 3, H, W] to what enters the first block, [b, t, 1 + n, w]: a class token, then patches."""
        whole: Tensor = self.ln_pre(self.embedded(images))
        return whole

    def block(self, layer: int, states: Tensor) -> Tensor:
        """One residual block, [b, t, 1 + n, w] to the same."""
        flat: Tensor = self.transformer.resblocks[layer](states.flatten(0, 1))
        return flat.view(states.shape)

    def pooled(self, states: Tensor) -> Tensor:
        """[b, t, 1 + n, w] to items [b, t, D]: what the class tokens say."""
        items: Tensor = self.ln_post(states[:, :, 0]) @ self.proj
        return items

    def forward(self, images: Tensor) -> Tensor:
        """[b, T, 3, H, W] -> [b, t, D]."""
        states = self.tokens(images)
        for layer in range(self.layers):
            if self.transformer.grad_checkpointing and torch.is_grad_enabled():
                states = checkpoint(self.block, layer, states, use_reentrant=False)
            else:
                states = self.block(layer, states)
        return self.pooled(states)


class JointTower(VideoTower):
    """Attention over the patches of all frames and one class token (ActionCLIP, pre-network prompt): t is 1.

    A learned embedding of time is added to the patches of each frame, not to the class token.
    """

    kind = "clip"

    def __init__(self, visual: nn.Module, frames: int):
        super().__init__(visual)
        self.time_embedding = nn.Parameter(torch.empty(frames, self.width))
        nn.init.normal_(self.time_embedding, std=self.width**-0.5)

    @property
    def anew(self) -> list[nn.Parameter]:
        """The embedding of time."""
        return [self.time_embedding]

    def tokens(self, images: Tensor) -> Tensor:
        """[b, T, 3, H, W] -> [b, 1, 1 + T N, w]."""
        patches = self.patches(images)
        timed = (patches + self.time_embedding[:, None].to(patches.dtype)).flatten(1, 2)
        first = (self.class_embedding + self.positional_embedding[0]).to(timed.dtype)
        whole: Tensor = self.ln_pre(torch.cat((first.expand(timed.shape[0], 1, -1), timed), dim=1))
        return whole[:, None]


class ShiftTower(VideoTower):
    """Before every block an eighth of a patch's channels comes from the next frame, another from the one before.

    Zeros stand for frames beyond the window; the class token keeps all of its own. `residual` shifts what attention
    sees and leaves the skip path alone, in place of the whole input of the block as released. `causal` takes nothing
    from the next frame, so that an item depends on the L frames before its own.
    """

    def __init__(self, visual: nn.Module, placement: Literal["in_place", "residual"], causal: bool):
        super().__init__(visual)
        self.placement = placement
        self.causal = causal
        self.kind = "frame" if causal else "clip"
        self.history = self.layers if causal else 0

    def block(self, layer: int, states: Tensor) -> Tensor:
        """Shift, then the block; [b, T, 1 + N, w] to the same."""
        return self._block(layer, states, shifted(states, causal=self.causal))

    def _block(self, layer: int, states: Tensor, moved: Tensor) -> Tensor:
        if self.placement == "in_place":
            return super().block(layer, moved)
        block: Any = self.transformer.resblocks[layer]
        attended = block.attention(block.ln_1(moved.flatten(0, 1)))
        flat: Tensor = states.flatten(0, 1) + block.ls_1(attended)
        flat = flat + block.ls_2(block.mlp(block.ln_2(flat)))
        return flat.view(states.shape)

    def memory(self, cameras: int) -> Memory:
        """The buffers of cameras at the start of their stream: zeros."""
        patches = len(self.positional_embedding) - 1
        return tuple(self.class_embedding.new_zeros(cameras, patches, self.width // 8) for _ in range(self.layers))

    def step(self, images: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """One frame of each of n cameras, [n, 3, H, W], to items [n, D] and the buffers after it. Causal towers only.

        What `forward` computes for the frames of a window, one after the other.
        """
        if not self.causal:
            raise ValueError("a shift from the next frame has no step; set causal")
        states, kept = self.tokens(images[:, None]), []
        group = _groups(self.width)[1]
        for layer, before in enumerate(memory):
            patches = states[:, :, 1:]
            kept.append(patches[:, 0, :, group])
            parts = (patches[..., : group.start], before[:, None], patches[..., group.stop :])
            moved = torch.cat((states[:, :, :1], torch.cat(parts, dim=-1)), dim=2)
            states = self._block(layer, states, moved)
        return self.pooled(states)[:, 0], tuple(kept)


def shifted(states: Tensor, *, causal: bool) -> Tensor:
    """Tokens [b, T, 1 + N, w] whose first w/8 channels come from frame t + 1, the second w/8 from t - 1.

    Causal: only the latter. Beyond the ends are zeros; the class token keeps its own.
    """
    first, patches = states[:, :, :1], states[:, :, 1:]
    future, past = _groups(states.shape[-1])
    nothing = torch.zeros_like(patches[:, :1])
    after = patches if causal else torch.cat((patches[:, 1:], nothing), dim=1)
    before = torch.cat((nothing, patches[:, :-1]), dim=1)
    rest = patches[..., past.stop :]
    return torch.cat((first, torch.cat((after[..., future], before[..., past], rest), dim=-1)), dim=2)


def _groups(width: int) -> tuple[slice, slice]:
    fold = width // 8
    return slice(0, fold), slice(fold, 2 * fold)


def _plain(visual: nn.Module) -> Any:
    """The tower, if it is a vision transformer with a class token and plain blocks. Raises RecipeError."""
    remedy = "choose a vision transformer of CLIP such as ViT-B-32-quickgelu, or model.prompt none"
    if not isinstance(visual, VisionTransformer):
        kind = type(getattr(visual, "trunk", visual)).__name__
        raise RecipeError(
            f"a visual prompt needs a vision transformer of open_clip, and the tower is a {kind}; {remedy}"
        )
    tower: Any = visual
    plain = all(type(block) is ResidualAttentionBlock for block in tower.transformer.resblocks)
    if tower.attn_pool is not None or tower.pool_type != "tok" or not plain or tower.proj is None:
        raise RecipeError(f"a visual prompt needs a tower with plain blocks that is read at its class token; {remedy}")
    if not isinstance(tower.patch_dropout, nn.Identity):
        raise RecipeError(f"a visual prompt needs all patches, and the tower drops some; {remedy}")
    return tower
