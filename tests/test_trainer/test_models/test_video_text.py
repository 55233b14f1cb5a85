"""The trained model's forms."""

from __future__ import annotations

import pytest
import torch

from trainer.models.text.texts import texts_of
from trainer.models.video_text import build, windows_of
from trainer.recipe import Recipe


@pytest.fixture(scope="module")
def model(tiny_recipe: Recipe) -> torch.nn.Module:
    """A fresh tiny model."""
    torch.manual_seed(0)
    return build(tiny_recipe.model, tiny_recipe.start.build(texts_of(()).words)).eval()


def test_a_frame_has_one_embedding_wherever_it_stands(model: torch.nn.Module) -> None:
    """Encoded alone or with others, and seen through any window, an item is the same."""
    pictures = torch.randint(0, 256, (6, 48, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        items = model.encode_frames(pictures)
        alone = torch.cat([model.encode_frames(picture[None]) for picture in pictures])
    assert torch.allclose(items, alone, atol=1e-5)
    windows = windows_of(items[None], 4)[0]
    assert windows.shape == (3, 4, 64)
    assert all(torch.equal(windows[at, place], items[at + place]) for at in range(3) for place in range(4))


def test_embeddings_have_length_one(model: torch.nn.Module) -> None:
    """Head, pooled and text embeddings are normalised; an identity head points where the mean points."""
    windows = torch.randn(3, 4, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        head, pooled = model.embed_windows(windows)
        text = model.encode_text(model.tokens(["a person runs"]))
    for embeddings in (head, pooled, text):
        assert torch.allclose(embeddings.norm(dim=-1), torch.ones(len(embeddings)), atol=1e-5)
    assert torch.allclose(head, pooled, atol=1e-5)


def test_the_scale_is_clamped(model: torch.nn.Module) -> None:
    """However large the learned logit scale, serving sees at most 100."""
    kept = model.clip.logit_scale.detach().clone()
    with torch.no_grad():
        model.clip.logit_scale.fill_(9.0)
        assert float(model.scale) == 100.0
        model.clip.logit_scale.copy_(kept)
