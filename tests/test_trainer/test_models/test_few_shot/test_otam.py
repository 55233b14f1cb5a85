"""Alignment in torch: the golden table of its numpy twin, and gradients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines.text import alignment
from trainer.models.few_shot.otam import aligned, alignment_distances

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "alignment.json").read_text("utf-8"))


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: str(golden["name"]))
def test_golden_alignment(golden: dict[str, Any]) -> None:
    """The values of the table, in both directions."""
    distances = torch.tensor(golden["distances"], dtype=torch.float32)
    assert aligned(distances, golden["smoothing"]).item() == pytest.approx(golden["forward"], abs=1e-5)
    assert aligned(distances.mT, golden["smoothing"]).item() == pytest.approx(golden["backward"], abs=1e-5)


def test_what_is_trained_is_what_serves() -> None:
    """Queries and prototypes of other lengths: torch and numpy give the same distances."""
    rng = np.random.default_rng(0)
    queries, prototypes = rng.normal(size=(3, 8, 16)), rng.normal(size=(4, 5, 16))
    ours = alignment_distances(torch.from_numpy(queries), torch.from_numpy(prototypes), 0.5).numpy()
    assert ours == pytest.approx(alignment.alignment_distances(queries, prototypes, 0.5), abs=1e-9)


@pytest.mark.parametrize("far", [False, True], ids=["random", "nothing agrees"])
def test_gradients_are_finite_over_long_windows(far: bool) -> None:
    """T = 32, lambda 0.1: where the sum of exponentials underflows, its logarithm does not."""
    distances = torch.ones(32, 32) if far else torch.rand(32, 32, generator=torch.Generator().manual_seed(0))
    distances.requires_grad_()
    aligned(distances, 0.1).backward()  # type: ignore[no-untyped-call]
    assert distances.grad is not None and bool(torch.isfinite(distances.grad).all())
    assert float(distances.grad.abs().sum()) > 1
