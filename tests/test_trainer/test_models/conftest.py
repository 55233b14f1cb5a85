"""Small towers in the file formats in which weights are published."""

from __future__ import annotations

import json

import open_clip
import pytest
import torch

NAME = "published-test-quickgelu"
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
    (folder / f"{NAME}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    return NAME


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
