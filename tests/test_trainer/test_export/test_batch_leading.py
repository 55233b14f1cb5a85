"""What we export becomes a TensorRT plan, keeps the batch in front, and says nothing of the machine that wrote it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import open_clip
import pytest
import torch
from torch import nn

from engines.bundle.manifest import Input
from engines.bundle.store import demo_path
from trainer.export.batch_leading import batch_leading_attention
from trainer.export.onnx import check_parity, write_network
from trainer.models.blueprint import Blueprint
from trainer.models.video_text import VideoTextModel

FRAME = ("image.onnx", "head.onnx", "text.onnx")


class Whole(nn.Module):
    """A pre-trained image tower as a bundle holds it: bytes in, normalised inside."""

    def __init__(self, model: VideoTextModel):
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[n, H, W, 3] to [n, D]."""
        return self.model.encode_frames(images)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image network of a ViT-B/32, with random weights, exported and compared with torch."""
    path = tmp_path_factory.mktemp("vit") / "image.onnx"
    torch.manual_seed(0)
    form = Input(height=224, width=224, resize="bicubic", crop="centre", mean=(0.5,) * 3, std=(0.25,) * 3)
    blueprint = Blueprint(
        name="ViT-B-32", form=form, dimensions=512, config=open_clip.get_model_config("ViT-B-32") or {}
    )
    model = VideoTextModel(
        blueprint.build().eval(),
        nn.Identity(),
        None,  # type: ignore[arg-type]
        frames=8,
        blueprint=blueprint,
    ).eval()
    images = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = model.encode_frames(images).numpy()
    write_network(Whole(model).eval(), images, path, given="images", returned=("embeddings",))
    check_parity(path, images.numpy(), [expected])
    return path


def networks(vit: Path) -> Iterator[Path]:
    """The demo's and a ViT-B/32's."""
    yield from (demo_path() / name for name in FRAME)
    yield vit


def test_every_network_becomes_a_plan(vit: Path, build_plan: Callable[..., int]) -> None:
    """TensorRT's parser takes them, and its builder makes plans; in bf16 they are smaller."""
    for path in networks(vit):
        assert build_plan(path) > build_plan(path, "bf16") > 10_000, path


def test_the_batch_leads_every_product(vit: Path) -> None:
    """No product has the batch among its rows: each takes n matrices, or none that depends on the batch."""
    for path in networks(vit):
        graph = onnx.shape_inference.infer_shapes(onnx.load(str(path))).graph
        shapes = {value.name: value.type.tensor_type.shape.dim for value in (*graph.value_info, *graph.input)}
        products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
        assert products
        for node in products:
            shape = shapes[node.input[0]]
            assert len(shape) >= 3 and (shape[0].dim_param or shape[0].dim_value == 1), (path, node.name)


def test_no_file_says_where_it_was_made(vit: Path) -> None:
    """The exporter's stack traces name folders of the machine; none of them stands in a file."""
    for path in networks(vit):
        model = onnx.load(str(path))
        assert not model.metadata_props and not model.graph.metadata_props and not model.graph.doc_string
        assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
        assert not re.search(rb"\.py\b|/home/|/site-packages/", path.read_bytes())


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("across", [False, True])
def test_attention_is_what_torch_computes(masked: bool, across: bool) -> None:
    """Self-attention and attention across two sequences, with and without a mask."""
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(32, 4, batch_first=True).eval()
    query = torch.randn(3, 5, 32)
    other = torch.randn(3, 7, 32) if across else query
    mask = torch.full((5, other.shape[1]), float("-inf")).triu(1) if masked else None
    expected = attention(query, other, other, need_weights=False, attn_mask=mask)[0]
    with batch_leading_attention():
        found = attention(query, other, other, need_weights=False, attn_mask=mask)[0]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_attention_with_more_wishes_stays_torch_s_own() -> None:
    """A call that is not understood goes to torch, as do all calls once the block is left."""
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(32, 4, batch_first=True).eval()
    original, query = nn.MultiheadAttention.forward, torch.randn(2, 5, 32)
    expected = attention(query, query, query)
    with batch_leading_attention():
        found = attention(query, query, query)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert nn.MultiheadAttention.forward is original
