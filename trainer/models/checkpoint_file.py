"""The file of a checkpoint: safetensors with the weights, how the model is built, and its tokenizer. No pickle.

Weights lie there as they were trained, and those that learn a second time as their moving average, which is what
everybody uses but the training itself. What is frozen has no average.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from trainer.errors import CheckpointError, RecipeError
from trainer.models.blueprint import Blueprint
from trainer.models.text.word_tokenizer import UNKNOWN
from trainer.models.video_text import KNOWN_CLASSES, Foundation, VideoTextModel

NAME = "checkpoint.safetensors"
AVERAGE, MOMENTS = "average.", "moments."
"""Prefixes of the moving average of the model, and of the optimiser's moments."""

_MODEL, _TOKENIZER = "model.", "tokenizer.json"
_KEYS = {"step", "recipe", "blueprint"}


def write(path: Path, tensors: Mapping[str, Tensor], model: VideoTextModel, metadata: Mapping[str, str]) -> None:
    """Write tensors with all that is needed to build the model again. The file appears when it is complete."""
    words = torch.frombuffer(bytearray(model.tokenizer.to_str().encode()), dtype=torch.uint8)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    partial = path.with_suffix(".partial")
    save_file({**whole, _TOKENIZER: words}, partial, {**metadata, "blueprint": model.blueprint.model_dump_json()})
    partial.replace(path)


def read(path: Path, *, tensors: bool = True) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (none unless wanted) and metadata of a checkpoint. Raises CheckpointError for what is none of ours."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            found = {name: file.get_tensor(name) for name in file.keys()} if tensors else {}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is no readable checkpoint: {error}") from error
    if not metadata.keys() >= _KEYS:
        raise CheckpointError(
            f"{path} lacks {', '.join(sorted(_KEYS - metadata.keys()))} ({json.dumps(sorted(metadata))}); it is no "
            "checkpoint of this version: train anew"
        )
    return found, metadata


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def averaged(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of the model that everybody uses: its moving average, and what was frozen."""
    return part(tensors, _MODEL) | part(tensors, AVERAGE)


def towers(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> tuple[Blueprint, Tokenizer]:
    """How the towers of a checkpoint are built, and the tokenizer of their texts. Raises CheckpointError."""
    try:
        blueprint = Blueprint.model_validate_json(metadata["blueprint"])
    except ValidationError as error:
        raise CheckpointError(f"the checkpoint was written by another version ({error}); train anew") from error
    return blueprint, Tokenizer.from_str(bytes(tensors[_TOKENIZER].numpy()).decode())


def foundation(checkpoint: Path, words: Sequence[str], *, keep_head: bool) -> Foundation:
    """A checkpoint, or that of a run folder, as the start of another training. Raises CheckpointError, RecipeError."""
    path = checkpoint / NAME if checkpoint.is_dir() else checkpoint
    tensors, metadata = read(path)
    blueprint, tokenizer = towers(tensors, metadata)
    _check_words(path, tokenizer, words)
    state = averaged(tensors)
    clip = blueprint.build()
    plain = {f"clip.{name}" for name in clip.state_dict()}
    known = {name: tensor for name, tensor in state.items() if name in plain}
    torch.nn.Module.load_state_dict(clip, part(known, "clip."))  # type: ignore[arg-type]  # Clip is a protocol
    # What towers do not have by themselves: head, prompts, learned context, the part that learns from examples.
    # The classes that it knew are none of the next training's.
    rest = {name: tensor for name, tensor in state.items() if name not in plain and not name.startswith(KNOWN_CLASSES)}
    if not keep_head:
        rest = {name: tensor for name, tensor in rest.items() if name.startswith("project.")}
    return Foundation(clip, tokenizer, blueprint, rest, keep_head=keep_head)


def _check_words(path: Path, tokenizer: Tokenizer, words: Sequence[str]) -> None:
    if tokenizer.token_to_id(UNKNOWN) is None or json.loads(tokenizer.to_str())["model"]["type"] != "WordLevel":
        return
    if unknown := [word for word in words if tokenizer.token_to_id(word) is None]:
        raise RecipeError(
            f"the texts of the recipe have words that the model in {path} has never read: {', '.join(unknown[:8])}; "
            "say the labels in words that it knows, or start from scratch"
        )
