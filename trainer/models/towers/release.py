"""Checkpoints that were published with ActionCLIP: a CLIP whose towers were trained, and a temporal head.

Two forms are read: the release's own (`model_state_dict`, `fusion_model_state_dict`) and that of mmaction2's port
(`clip.` and `adapter.` in one state dict). The architecture follows from the shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import open_clip
from torch import Tensor

from engines.bundle.manifest import Input
from trainer.errors import PretrainedError
from trainer.models.blueprint import Blueprint
from trainer.models.text.clip_tokenizer import clip_tokenizer
from trainer.models.towers import weights
from trainer.models.video_text import Foundation

if TYPE_CHECKING:
    from trainer.models.start import Release

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_POSITIONS, _TOKEN = "frame_position_embeddings.weight", "transformer.cls_token"


def build(settings: Release) -> Foundation:
    """The CLIP of a release, its head unless a new one is wanted, and the names of what is not used.

    Raises PretrainedError for another file, another architecture, and a head that cannot be taken over.
    """
    path = settings.file
    if not path.is_file():
        raise PretrainedError(f"there is no {path}; give a checkpoint that was published with ActionCLIP")
    state, fusion = _halves(path, weights.load(path))
    state = {name: tensor for name, tensor in state.items() if name not in weights.FACTS}
    name = _architecture(path, state)
    config: dict[str, Any] = open_clip.get_model_config(name)
    size = config["vision_cfg"]["image_size"]
    blueprint = Blueprint(
        name=name,
        pretrained=path.name,
        form=Input(height=size, width=size, resize="bicubic", crop="centre", mean=_MEAN, std=_STD),
        dimensions=int(config["embed_dim"]),
        config=config,
    )
    clip: Any = blueprint.build()
    ours = clip.state_dict()
    unused = [tensor for tensor in state if tensor not in ours]
    taken = {tensor: state[tensor] for tensor in state if tensor in ours}
    if fault := weights.first_mismatch(ours, taken):
        raise PretrainedError(f"{path.name} holds no whole CLIP of the form {name}: {fault}")
    clip.load_state_dict(taken)
    keep = settings.head == "keep" and bool(fusion)
    head, left = _head(path, fusion) if keep else ({}, list(fusion))
    tokenizer = clip_tokenizer(int(config["text_cfg"]["context_length"]))
    return Foundation(clip, tokenizer, blueprint, head, keep_head=keep, unused=(*unused, *left))


def _halves(path: Any, loaded: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of CLIP and those of the head."""
    if isinstance(loaded, Mapping) and "model_state_dict" in loaded:
        fusion = loaded.get("fusion_model_state_dict") or {}
        return weights.without_prefixes(weights.plain(path, loaded)), weights.without_prefixes(dict(fusion))
    state = weights.without_prefixes(weights.plain(path, loaded))
    clip = {name.removeprefix("clip."): tensor for name, tensor in state.items() if name.startswith("clip.")}
    fusion = {name.removeprefix("adapter."): tensor for name, tensor in state.items() if name.startswith("adapter.")}
    if not clip:
        raise PretrainedError(
            f"{path} is no checkpoint of ActionCLIP: it has neither model_state_dict nor clip.*; for the weights of a "
            "CLIP alone use start.kind: clip"
        )
    return clip, fusion


def _architecture(path: Any, state: Mapping[str, Tensor]) -> str:
    """The CLIP with QuickGELU whose tensors have these shapes."""
    kernel, grid = state.get("visual.conv1.weight"), state.get("visual.positional_embedding")
    words, joint = state.get("token_embedding.weight"), state.get("text_projection")
    if kernel is None or grid is None or words is None or joint is None:
        raise PretrainedError(f"{path.name} holds no vision transformer of CLIP; other towers are not read")
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name)
        vision, text = config["vision_cfg"], config["text_cfg"]
        if not config.get("quick_gelu") or "patch_size" not in vision or config.get("custom_text"):
            continue
        patches = (vision["image_size"] // vision["patch_size"]) ** 2 + 1
        shapes = (
            (vision.get("width", 768), 3, vision["patch_size"], vision["patch_size"]),
            (patches, vision.get("width", 768)),
            (text.get("vocab_size", 49408), text["width"]),
            (text["width"], config["embed_dim"]),
        )
        if shapes == tuple(tuple(tensor.shape) for tensor in (kernel, grid, words, joint)):
            return str(name)
    raise PretrainedError(
        f"{path.name} holds a CLIP with kernels {list(kernel.shape)} and {list(joint.shape)} as its projection, which "
        "open_clip does not know"
    )


def _head(path: Any, fusion: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The head in our names, and what is not used of it."""
    if "shift.weight" in fusion:
        raise PretrainedError(
            f"{path.name} has a Conv1D head, which the release trained on channels mixed with time; set start.head to "
            "new to take its CLIP alone"
        )
    if any(name.startswith("transformer.resblocks.") for name in fusion):
        head = {f"head.blocks.{name.removeprefix('transformer.resblocks.')}": tensor
                for name, tensor in fusion.items() if name.startswith("transformer.resblocks.")}  # fmt: skip
        return {**head, "head.positions": fusion[_POSITIONS]}, _unused(fusion, "transformer.resblocks.", _POSITIONS)
    if _TOKEN in fusion:
        return _class_token(fusion), _unused(fusion, "transformer.")
    if any(name.startswith("lstm_visual.") for name in fusion):
        head = {f"head.lstm.{name.removeprefix('lstm_visual.')}": tensor
                for name, tensor in fusion.items() if name.startswith("lstm_visual.")}  # fmt: skip
        return head, _unused(fusion, "lstm_visual.")
    raise PretrainedError(
        f"{path.name} has a head of another kind ({', '.join(list(fusion)[:3])}); set start.head to new to take its "
        "CLIP alone"
    )


def _class_token(fusion: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = {_TOKEN: "head.token", "transformer.pos_embed": "head.positions"}
    head = {}
    for name, tensor in fusion.items():
        if name in names:
            head[names[name]] = tensor
        elif name.startswith("transformer.transformer_enc."):
            head[f"head.{name.removeprefix('transformer.transformer_enc.')}"] = tensor
    return head


def _unused(fusion: Mapping[str, Tensor], *used: str) -> list[str]:
    return [name for name in fusion if not name.startswith(used)]
