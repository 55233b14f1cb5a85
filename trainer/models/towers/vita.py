"""Vita-CLIP's prompts in a vision transformer of CLIP, which rests: summary, global and local prompts in every block.

Source: Wasim et al., "Vita-CLIP: Video and text adaptive CLIP via multimodal prompting" (CVPR 2023), section 3.2; the
projection of the class tokens learns, as the paper says and its release forgets.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.models.towers.video import VideoTower


class VitaTower(VideoTower):
    """Normalised pixels of windows [b, T, 3, H, W] to items [b, T, D]; what happens in one frame, all others see.

    Made for windows of `frames`. For others the embedding of time and the local prompts are taken from the nearest
    place, so that T and `frames` may differ.
    """

    kind = "clip"

    def __init__(self, visual: nn.Module, frames: int, prompts: int):
        super().__init__(visual)
        width, layers = self.width, self.layers
        heads = int(self.transformer.resblocks[0].attn.num_heads)
        self.time_embedding = nn.Parameter(torch.empty(frames, width))
        self.global_prompts = nn.Parameter(torch.empty(layers, prompts, width))
        self.local_prompts = nn.Parameter(torch.empty(layers, frames, width))
        self.class_projections = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.summary_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.summaries = nn.ModuleList(nn.MultiheadAttention(width, heads, batch_first=True) for _ in range(layers))
        self._initialise(self.conv1.kernel_size[0])

    def _initialise(self, patch: int) -> None:
        nn.init.normal_(self.time_embedding, std=0.02)
        reach = (6 / (3 * patch**2 + self.width)) ** 0.5
        for prompts in (self.global_prompts, self.local_prompts):
            nn.init.uniform_(prompts, -reach, reach)
        for summary in self.summaries:
            assert isinstance(summary, nn.MultiheadAttention)
            nn.init.xavier_uniform_(summary.out_proj.weight)  # the in-projection starts so by itself, and biases at 0

    @property
    def anew(self) -> list[nn.Parameter]:
        """All that is not CLIP's."""
        parts = (self.class_projections, self.summary_norms, self.summaries)
        prompts = [self.time_embedding, self.global_prompts, self.local_prompts]
        return prompts + [parameter for part in parts for parameter in part.parameters()]

    def tokens(self, images: Tensor) -> Tensor:
        """[b, T, 3, H, W] -> [b, T, 1 + N, w]; time is added to every token of a frame, the class token's too."""
        whole = self.embedded(images)
        timed: Tensor = self.ln_pre(whole + _resized(self.time_embedding, images.shape[1])[:, None].to(whole.dtype))
        return timed

    def prompted(self, layer: int, states: Tensor) -> Tensor:
        """What attention of a block sees, [b, T, 1 + T + M + N + 1, w]: class token, local, global, patches, summary.

        All T local prompts go to every frame; of the summary a frame gets its own token alone.
        """
        windows, frames, _, width = states.shape
        known = self.class_projections[layer](states[:, :, 0])
        normed = self.summary_norms[layer](known)
        summary = known + self.summaries[layer](normed, normed, normed, need_weights=False)[0]
        local = (_resized(self.local_prompts[layer], frames) + known)[:, None].expand(-1, frames, -1, -1)
        shared = self.global_prompts[layer].expand(windows, frames, -1, width)
        return torch.cat((states[:, :, :1], local, shared, states[:, :, 1:], summary[:, :, None]), dim=2)

    def block(self, layer: int, states: Tensor) -> Tensor:
        """Local and summary prompts end after the attention, the global ones after the whole block."""
        windows, frames, _, _ = states.shape
        block: Any = self.transformer.resblocks[layer]
        seen = self.prompted(layer, states).flatten(0, 1)
        attended = seen + block.ls_1(block.attention(block.ln_1(seen)))
        kept = torch.cat((attended[:, :1], attended[:, 1 + frames : -1]), dim=1)
        changed = kept + block.ls_2(block.mlp(block.ln_2(kept)))
        prompts = self.global_prompts.shape[1]
        left: Tensor = torch.cat((changed[:, :1], changed[:, 1 + prompts :]), dim=1)
        return left.view(windows, frames, *left.shape[1:])


def _resized(places: Tensor, frames: int) -> Tensor:
    """[T, w] for as many frames as there are, each from the nearest place."""
    if frames == len(places):
        return places
    return F.interpolate(places.t()[None], size=frames, mode="nearest")[0].t()
