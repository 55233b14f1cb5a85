"""A tiny recipe, and one run of it that several tests look at."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from trainer.data.encode import encode_mp4
from trainer.demo.recordings import Streams
from trainer.demo.source import SCENES
from trainer.models.text.texts import texts_of
from trainer.recipe import Recipe
from trainer.training import loop

TINY = Recipe.model_validate(
    {
        "name": "tiny",
        "data": {
            "streams": 4,
            "seconds": 20,
            "density": 2.0,
            "rendered_clips": 6,
            "clip_seconds": 3,
        },
        "start": {
            "kind": "scratch",
            "dimensions": 64,
            "height": 48,
            "width": 64,
            "text": {"width": 64, "heads": 1, "layers": 1},
        },
        "model": {
            "frames": 4,
            "head": {"architecture": "transf", "layers": 1},
        },
        "optimiser": {"warmup_steps": 5, "average": 0.9, "orthogonal": 10},
        "loss": {"words": 0.5},
        "stages": [
            {"steps": 15, "chunks": 12, "ticks": 1, "texts": False},
            {"steps": 25, "chunks": 12, "ticks": 1},
            {"steps": 10, "chunks": 2, "ticks": 6},
            {"steps": 15, "chunks": 4, "ticks": 6, "frozen": True, "items": 200},
        ],
        "validate_on": {"streams": 2, "seconds": 20, "clips": 16, "clip_seconds": 3.0},
        "checkpoint_every": 20,
    }
)


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    """A recipe that trains in seconds."""
    return TINY


@pytest.fixture(scope="session")
def footage_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny recipe's footage is rendered once."""
    return tmp_path_factory.mktemp("footage")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, footage_cache: Path) -> Path:
    """The run folder of the tiny recipe, trained from beginning to end."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    loop.train(TINY, SCENES, run, cache=footage_cache)
    return run


@pytest.fixture(scope="session")
def exporter() -> Iterator[None]:
    """torch's exporter, which else reads the sources of its five hundred operators anew for every network."""
    from torch.onnx._internal.exporter import _registration

    apis = _registration.onnxscript_apis
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apis, "get_torchlib_ops", functools.cache(apis.get_torchlib_ops))
        yield


@pytest.fixture(scope="session")
def tiny_draft(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path, exporter: None) -> Path:
    """The tiny run as a draft bundle."""
    from trainer.export.trained import export

    draft = tmp_path_factory.mktemp("bundles") / "draft"
    export(tiny_run, draft, SCENES.texts)
    return draft


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Two clips of three seconds: one grows brighter, one darker; the second is listed in two parts.

    up.mp4    |-------- train --------|
    down.mp4  |- train -|- validate -|
    """
    ramp = range(0, 240, 8)
    for name, levels in (("up.mp4", ramp), ("down.mp4", reversed(ramp))):
        encode_mp4((np.full((64, 64, 3), level, np.uint8) for level in levels), tmp_path / name, 10, 400_000)
    (tmp_path / "labels.csv").write_text(
        "path,label,start,end,split\nup.mp4,GetsBrighter,,,\ndown.mp4,gets_darker,,1.0,\n"
        "down.mp4,gets_darker,1.0,2.0,validate\n"
    )
    return tmp_path


@pytest.fixture
def clip_recipe(tiny_recipe: Recipe) -> Callable[[Path], Recipe]:
    """A tiny recipe over labelled clips."""

    def make(source: Path) -> Recipe:
        kept = {"name", "start", "model", "optimiser", "checkpoint_every"}
        return Recipe.model_validate(
            tiny_recipe.model_dump(mode="json", include=kept)
            | {
                "licence": "that of the footage",
                "data": {"clips": str(source)},
                "stages": [{"steps": 6, "chunks": 6, "ticks": 4}],
            }
        )

    return make


@pytest.fixture(scope="session")
def short_streams() -> Streams:
    """Rendered streams of seconds, one camera each."""
    return Streams("10100", "10200", "10120", "10204", cameras=1, seconds=20.0)


@pytest.fixture(scope="session")
def calibrated(short_streams: Streams, tiny_draft: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny draft, calibrated and sealed."""
    from trainer.calibration.calibrate import calibrate

    folder = tmp_path_factory.mktemp("calibrated")
    calibrate(tiny_draft, folder / "bundle", short_streams.material(folder / "cache", lambda *_: None))
    return folder / "bundle"


PUBLISHED = "published-test-quickgelu"
CONFIG = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="session")
def published_name(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small vision transformer under a name that open_clip knows."""
    folder = tmp_path_factory.mktemp("published")
    (folder / f"{PUBLISHED}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    return PUBLISHED


@pytest.fixture(scope="session")
def published(published_name: str) -> torch.nn.Module:
    """That model with seeded random weights, in half precision as OpenAI released its own."""
    torch.manual_seed(5)
    model = open_clip.create_model(published_name).eval()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().float())
    return model


@pytest.fixture
def halves(tmp_path: Path) -> dict[str, Any]:
    """A residual network's weights with its classifier, and a folder of a small BERT, as `parts`."""
    torch.manual_seed(1)
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "tower.pth")
    folder = tmp_path / "encoder"
    words = {word: index for index, word in enumerate(("[PAD]", "[UNK]", *texts_of(("a person runs",)).words))}
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    bert = transformers.BertModel(config)
    config.save_pretrained(folder)
    save_file({name: tensor.contiguous() for name, tensor in bert.state_dict().items()}, folder / "model.safetensors")
    tokenizer = Tokenizer(WordLevel(words, "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return {
        "kind": "parts",
        "image": {"name": "resnet10t", "weights": str(tmp_path / "tower.pth"), "size": 64},
        "text": {"folder": str(folder), "context": 12},
    }
