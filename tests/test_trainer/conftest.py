"""A tiny recipe, and one run of it that several tests look at."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer import loop
from trainer.config import Recipe

TINY = Recipe.model_validate(
    {
        "name": "tiny",
        "data": {
            "streams": 4,
            "seconds": 20,
            "density": 2.0,
            "rendered_clips": 6,
            "clip_seconds": 3,
            "height": 48,
            "width": 64,
        },
        "model": {
            "dimensions": 64,
            "frames": 4,
            "text": {"width": 64, "heads": 1, "layers": 1},
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
    loop.train(TINY, run, cache=footage_cache)
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
    from trainer.export import export

    draft = tmp_path_factory.mktemp("bundles") / "draft"
    export(tiny_run, draft)
    return draft
