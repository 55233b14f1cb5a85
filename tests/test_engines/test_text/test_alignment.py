"""Alignment in numpy: the golden table, which the trainer's twin is held to as well, and what a distance must keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.text.alignment import aligned, alignment_distances, frame_wise_distances

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "alignment.json").read_text("utf-8"))


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: str(golden["name"]))
def test_golden_alignment(golden: dict[str, Any]) -> None:
    """The values of the table, in both directions."""
    distances = np.array(golden["distances"])
    assert aligned(distances, golden["smoothing"]) == pytest.approx(golden["forward"], abs=1e-5)
    assert aligned(distances.T, golden["smoothing"]) == pytest.approx(golden["backward"], abs=1e-5)


def test_the_order_of_the_frames_counts() -> None:
    """A film against itself and against itself backwards: the mean sees no difference, the alignment does."""
    film = np.eye(6, 16)[None]
    same, backwards = (alignment_distances(film, other, 0.1)[0, 0] for other in (film, film[:, ::-1]))
    assert same < 0.01 < 2 < backwards


def test_a_film_that_is_late_is_nearer_by_alignment_than_frame_by_frame() -> None:
    """a b c d e f  against  x a b c d e : frames at the same place never agree, a way through the table does.

    The two columns without cost let the way begin and end where it likes.
    """
    film, late = np.eye(8, 16)[None, 0:6], np.eye(8, 16)[None, [7, 0, 1, 2, 3, 4]]
    assert frame_wise_distances(film, late)[0, 0] == pytest.approx(1.0)
    assert alignment_distances(film, late, 0.1)[0, 0] < 3.0


@settings(max_examples=40)
@given(st.integers(0, 1000), st.integers(2, 9), st.integers(2, 9), st.integers(1, 5), st.sampled_from([0.1, 0.5]))
def test_a_distance_is_symmetric_and_knows_nothing_of_its_neighbours(
    seed: int, rows: int, columns: int, count: int, smoothing: float
) -> None:
    """distance(a, b) = distance(b, a); and, to the bit, the same alone and among others."""
    rng = np.random.default_rng(seed)
    windows, prototypes = rng.normal(size=(count, rows, 8)), rng.normal(size=(3, columns, 8))
    together = alignment_distances(windows, prototypes, smoothing)
    assert together == pytest.approx(alignment_distances(prototypes, windows, smoothing).T, abs=1e-9)
    alone = [[alignment_distances(w[None], p[None], smoothing)[0, 0] for p in prototypes] for w in windows]
    assert together.tolist() == alone


def test_costs_stay_finite_where_plain_exponentials_underflow() -> None:
    """32 frames that all disagree, lambda 0.1: exp(-310) would be no normal number; its logarithm is not needed."""
    far = np.full((32, 32), 1.0)
    assert np.isfinite(aligned(far, 0.1)) and aligned(far, 0.1) > 20
