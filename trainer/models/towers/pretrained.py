"""Pretrained CLIP weights in any form open_clip knows: a tag, a file, a `local-dir:` folder or `hf-hub:` name.

open_clip loads generously: it warns about a wrong activation, resizes position embeddings that do not fit, takes CLIP's
mean and standard deviation for a file of unknown origin and a missing bias for zero. Each of these gives a model that
runs and recognises badly, so each is an error here. One mistake cannot be detected: a renamed file whose weights were
trained with another activation.
"""

from __future__ import annotations

import difflib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engines.bundle.files import Input
from trainer.errors import PretrainedError
from trainer.models.blueprint import Blueprint
from trainer.models.memory import available, gibibytes
from trainer.models.towers import weights

if TYPE_CHECKING:
    from trainer.models.video_text import Foundation

LOCAL = "local-dir:"
HUB = "hf-hub:"
_CROPS: dict[str, Literal["centre", "squash"]] = {"shortest": "centre", "squash": "squash"}
_BYTES = 4  # of a weight: all become float32
_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True)
class Pretrained:
    """A loaded model in eval mode, and what a bundle must know about it.

    form: how pictures are brought to the network. logit_bias: None for models trained with a softmax.
    """

    architecture: str
    source: str
    clip: Any
    tokenizer: Any
    form: Input
    logit_scale: float
    logit_bias: float | None
    context: int
    blueprint: Blueprint


def foundation(model: str, pretrained: str | None = None, *, like: str | None = None) -> Foundation:
    """A model and its weights as the start of a training; arguments and errors are those of `load`."""
    from trainer.models.text.clip_tokenizer import convert
    from trainer.models.video_text import Foundation

    loaded = load(model, pretrained, like=like, fuse=False)
    return Foundation(loaded.clip, convert(loaded.tokenizer), loaded.blueprint)


def load(model: str, pretrained: str | None = None, *, like: str | None = None, fuse: bool = True) -> Pretrained:
    """Load a model and its weights.

    model: a name that open_clip knows, `local-dir:FOLDER` or `hf-hub:NAME`. pretrained: a tag of that model, or a file
    (.pt, .bin, .pth or .safetensors); not with the two prefixes. like: the tag whose preprocessing a file shares,
    needed where the model's tags disagree about it. fuse: whether parallel branches become one, for good.
    Raises PretrainedError saying what does not fit, and what to do.
    """
    import open_clip

    prefixed = model.startswith((LOCAL, HUB))
    preprocessing = _of_folder(model, pretrained) if prefixed else _of_name(model, pretrained, like)
    file = _weights(model, pretrained)
    if not prefixed:
        _check_memory(model)
    with strictly(f"{model} with {pretrained}" if pretrained else model):
        if file is None:
            clip = open_clip.create_model(
                model, pretrained, force_preprocess_cfg=preprocessing, require_pretrained=True
            )
        else:
            clip = open_clip.create_model(
                model, load_weights=False, force_preprocess_cfg=preprocessing, pretrained_text=False
            )
    if file is not None:
        _fill(clip, model, file)
    with strictly(f"the tokenizer of {model}"):
        tokenizer = open_clip.get_tokenizer(model)
    return _described((fused(clip) if fuse else clip).eval(), tokenizer, model, pretrained or model)


def _described(clip: Any, tokenizer: Any, architecture: str, source: str) -> Pretrained:
    from open_clip.hf_model import HFTextEncoder

    config, text = _config(architecture), getattr(clip, "text", None)
    bias = getattr(clip, "logit_bias", None)
    scale = float(clip.logit_scale.detach().exp())
    if architecture.startswith(LOCAL):
        architecture = source = Path(architecture.removeprefix(LOCAL)).resolve().name
    elif Path(source).is_file():
        source = Path(source).name
    form = input_form(clip.visual.preprocess_cfg)
    return Pretrained(
        architecture=architecture,
        source=source,
        clip=clip,
        tokenizer=tokenizer,
        form=form,
        # Softmax models are trained with this clamp (CLIP 2.5). A sigmoid's scale and bias belong together and stay.
        logit_scale=scale if bias is not None else min(scale, 100.0),
        logit_bias=None if bias is None else float(bias.detach()),
        context=int(tokenizer.context_length),
        blueprint=Blueprint(
            name=architecture,
            pretrained=source,
            form=form,
            dimensions=int(config["embed_dim"]),
            config=config,
            text_config=text.config.to_dict() if isinstance(text, HFTextEncoder) else None,
        ),
    )


def _config(model: str) -> dict[str, Any]:
    """open_clip's configuration of a model, of a folder or of a repository."""
    from open_clip import get_model_config
    from open_clip.factory import _get_hf_config

    if model.startswith(LOCAL):
        found: dict[str, Any] = _folder_config(Path(model.removeprefix(LOCAL)))["model_cfg"]
    elif model.startswith(HUB):
        with strictly(model):
            found = _get_hf_config(model.removeprefix(HUB))["model_cfg"]
    else:
        found = get_model_config(model.replace("/", "-"))
    for tower, flag in (("vision_cfg", "timm_model_pretrained"), ("text_cfg", "hf_model_pretrained")):
        found[tower].pop(flag, None)  # `Blueprint.build` fetches nothing
    return found


def input_form(preprocessing: Mapping[str, Any]) -> Input:
    """open_clip's preprocessing configuration in the manifest's words. Raises PretrainedError for `longest`."""
    size = preprocessing["size"]
    height, width = (size, size) if isinstance(size, int) else size
    if preprocessing["resize_mode"] not in _CROPS:
        raise PretrainedError(f"resize mode {preprocessing['resize_mode']!r} pads the picture, which no bundle does")
    return Input(
        height=height,
        width=width,
        resize="bilinear" if preprocessing["interpolation"] == "bilinear" else "bicubic",
        crop=_CROPS[preprocessing["resize_mode"]],
        mean=tuple(preprocessing["mean"]),
        std=tuple(preprocessing["std"]),
    )


def _check_memory(model: str) -> None:
    """Raise PretrainedError where the weights of a model that open_clip knows are more than this machine can hold.

    Nothing is allocated for it. A text tower of Hugging Face is left out: its size is known only once it is there.
    """
    import open_clip
    import torch

    if "hf_model_name" in _config(model)["text_cfg"]:
        return
    with strictly(model), torch.device("meta"):
        towers = open_clip.create_model(model, load_weights=False, device="meta")
    needed, there = sum(tensor.numel() * _BYTES for tensor in towers.parameters()), available()
    if needed > there:
        raise PretrainedError(
            f"{model} has {needed // _BYTES:,} weights, which need at least {gibibytes(needed)} of memory, and this "
            f"machine has {gibibytes(there)}; take a smaller model, or a larger machine"
        )


def _of_folder(model: str, pretrained: str | None) -> dict[str, Any]:
    if pretrained:
        raise PretrainedError(f"{model} brings its own weights; leave out --pretrained {pretrained}")
    if model.startswith(LOCAL):
        _folder_config(Path(model.removeprefix(LOCAL)))
    return {}


def _folder_config(folder: Path) -> dict[str, Any]:
    path = folder / "open_clip_config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        config["model_cfg"]["text_cfg"]
    except OSError as error:
        raise PretrainedError(
            f"{path} cannot be read ({error.strerror}); give open_clip's folder of a model"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise PretrainedError(f"{path} is no open_clip configuration: model_cfg with text_cfg is missing") from error
    return config


def _of_name(model: str, pretrained: str | None, like: str | None) -> dict[str, Any]:
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    if model not in open_clip.list_models():
        raise PretrainedError(f"open_clip has no model {model!r}; {near(model, open_clip.list_models())}")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not pretrained:
        raise PretrainedError(f"{model} needs weights: give --pretrained a file or one of its tags: {_listed(tags)}")
    if pretrained in tags:
        return _checked(model, get_pretrained_cfg(model, pretrained), pretrained)
    if not Path(pretrained).is_file():
        raise PretrainedError(f"{pretrained!r} is neither a file nor a tag of {model}; {near(pretrained, tags)}")
    if like and like not in tags:
        raise PretrainedError(f"{model} has no tag {like!r} to be like; {near(like, tags)}")
    _check_release(model, Path(pretrained).name)
    if like:
        return _checked(model, get_pretrained_cfg(model, like), like)
    configs = {tag: get_pretrained_cfg(model, tag) for tag in tags}
    fitting = {tag: config for tag, config in configs.items() if _is_quick(model) == bool(config.get("quick_gelu"))}
    return _agreed(model, {tag: _preprocessing(config) for tag, config in (fitting or configs).items()})


def _agreed(model: str, by_tag: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The preprocessing on which all tags of a model agree; a file alone does not state it."""
    kinds: dict[str, list[str]] = {}
    for tag, preprocessing in by_tag.items():
        kinds.setdefault(repr(preprocessing), []).append(tag)
    if len(kinds) > 1:
        one_each = ", ".join(f"--like {tags[0]}" for tags in kinds.values())
        raise PretrainedError(
            f"weights of {model} come with different preprocessing, and a file does not say which: add {one_each}"
        )
    return next(iter(by_tag.values()), {})


def _checked(model: str, config: Mapping[str, Any], tag: str) -> dict[str, Any]:
    wanted = bool(config.get("quick_gelu"))
    if wanted != _is_quick(model):
        raise PretrainedError(_activation(model, f"the weights {tag}", wanted))
    return _preprocessing(config)


def _check_release(model: str, name: str) -> None:
    """Refuse a released file, known by its name, whose weights need another activation."""
    from open_clip import list_pretrained
    from open_clip.pretrained import get_pretrained_cfg

    known = [get_pretrained_cfg(*pair) for pair in list_pretrained()]
    wanted = {bool(cfg.get("quick_gelu")) for cfg in known if cfg.get("url") and Path(cfg["url"]).name == name}
    if wanted and _is_quick(model) not in wanted:
        raise PretrainedError(_activation(model, f"the weights in {name}", not _is_quick(model)))


def _is_quick(model: str) -> bool:
    from open_clip import get_model_config

    return bool(get_model_config(model).get("quick_gelu"))


def _activation(model: str, weights: str, quick: bool) -> str:
    other = f"{model}-quickgelu" if quick else model.removesuffix("-quickgelu")
    trained, built = ("QuickGELU", "GELU") if quick else ("GELU", "QuickGELU")
    return (
        f"{weights} were trained with {trained}, but {model} is built with {built}: it would run and recognise badly; "
        f"use --model {other}"
    )


def _preprocessing(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: config[key] for key in _PREPROCESSING if config.get(key) is not None}


def _weights(model: str, pretrained: str | None) -> Path | None:
    """The local file that the weights will be read from, None where open_clip fetches them."""
    if not model.startswith(LOCAL):
        return Path(pretrained) if pretrained and Path(pretrained).is_file() else None
    from open_clip.factory import _find_checkpoint_in_dir

    folder = Path(model.removeprefix(LOCAL))
    found = _find_checkpoint_in_dir(folder)
    if found is None:
        raise PretrainedError(f"{folder} holds no weights; put open_clip_model.safetensors (or .bin, .pth) there")
    return Path(found)


def _fill(clip: Any, model: str, path: Path) -> None:
    """Put a file's tensors into the model; compared first, because open_clip would adapt them."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    found = weights.read(path)
    facts = {name: int(found.pop(name)) for name in weights.FACTS if name in found}
    if fault := _contradiction(clip, facts):
        raise PretrainedError(f"{path.name} holds no weights of {model}: {fault}; name the model they were made for")
    with strictly(f"{path.name} as {model}"):
        found = convert_state_dict(clip, found)
    if "positional_embedding" in found and not hasattr(clip, "positional_embedding"):
        found = convert_to_custom_text_state_dict(found)
    found = {name: tensor for name, tensor in found.items() if not name.endswith("position_ids")}
    ours = clip.state_dict()
    for name, tensor in found.items():
        if name in ours and tensor.numel() == ours[name].numel() == 1:
            found[name] = tensor.reshape(ours[name].shape)  # a scale is a number here and a vector of one there
    if fault := weights.first_mismatch(ours, found):
        raise PretrainedError(f"{path.name} holds no weights of {model}: {fault}; name the model they were made for")
    clip.load_state_dict(found)


def _contradiction(clip: Any, facts: Mapping[str, int]) -> str | None:
    """What the numbers beside the weights say of another model."""
    size = clip.visual.image_size
    ours = {
        "input_resolution": size if isinstance(size, int) else next(iter(size)),
        "context_length": clip.context_length,
        "vocab_size": clip.vocab_size,
    }
    for name, value in facts.items():
        if ours[name] != value:
            return f"{name} is {value} in the file and {ours[name]} in the model"
    return None


def fused(clip: Any) -> Any:
    """The model as it runs: FastViT towers (MobileCLIP) train with parallel branches, and run with one."""
    from timm.utils.model import reparameterize_model

    trunk = getattr(clip.visual, "trunk", None)
    if trunk is not None:
        clip.visual.trunk = reparameterize_model(trunk, inplace=False)
    return clip


@contextmanager
def strictly(what: str) -> Iterator[None]:
    """Translate open_clip's errors, make one of its warning of a wrong activation, keep its log off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message="QuickGELU mismatch", category=UserWarning)
            yield
    except Exception as error:  # open_clip raises whatever its download, pickle or transformers raised
        hint = "; fetch the weights on a machine with a network and give the file" if _is_network(error) else ""
        raise PretrainedError(f"{what} cannot be loaded: {weights.first_line(error)}{hint}") from error
    finally:
        logging.disable(before)


def _is_network(error: BaseException) -> bool:
    words = ("connect", "download", "resolve", "offline", "hub", "http")
    return any(word in str(error).lower() for word in words)


def near(name: str, known: list[str]) -> str:
    """The known names that resemble one, or the first of all, in words."""
    lowered = {item.lower(): item for item in known}
    near = [lowered[item] for item in difflib.get_close_matches(name.lower(), lowered, n=5, cutoff=0.5)]
    return f"near it: {', '.join(near)}" if near else f"there are {_listed(known)}"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") if names else "none, give a file"
