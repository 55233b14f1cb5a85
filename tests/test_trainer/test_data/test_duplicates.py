"""Copies of a film."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trainer.data.decode import read_clip
from trainer.data.duplicates import Thumbnails, duplicates, likeness, thumbnails

Film = Callable[..., Path]


def small(path: Path) -> Thumbnails:
    """Thumbnails at five frames a second."""
    return thumbnails(np.stack([picture for _, picture in read_clip(path, 5)]))


def test_copies_are_found_and_other_clips_of_the_same_camera_are_not(film: Film) -> None:
    """Encoded again, scaled, cut at the begin; the same ground with another movement is another film."""
    clips = [
        film("one.mp4", "across", 1),
        film("two.mp4", "across", 2),
        film("again.mp4", "across", 1, quality=35),
        film("scaled.mp4", "across", 2, size=(64, 48), quality=30),
        film("cut.mp4", "across", 1, cut=6),
        film("other.mp4", "down", 1),
        film("third.mp4", "down", 3),
    ]
    found = {(pair.first, pair.second) for pair in duplicates([small(path) for path in clips])}
    assert found == {(0, 2), (0, 4), (2, 4), (1, 3)}


def test_still_pictures_are_compared_as_they_are() -> None:
    """What does not move has nothing else; noise does not count."""
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 200, (1, 768)).astype(np.float32).repeat(6, axis=0)
    assert likeness(ground + rng.normal(0, 0.5, ground.shape).astype(np.float32), ground) == 1.0
    assert likeness(ground, ground + 20) == 0.0
    assert likeness(ground[:1], ground) == 1.0 and likeness(ground[:1], ground + 20) == 0.0


@pytest.mark.parametrize("shift", [0, 3, 7])
def test_a_copy_that_begins_later_is_as_like(shift: int) -> None:
    """All shifts with enough overlap are tried."""
    film = np.random.default_rng(1).normal(100, 30, (20, 768)).astype(np.float32)
    assert likeness(film, film[shift:]) == pytest.approx(1.0, abs=1e-4)
    assert likeness(film, film[::-1]) < 0.5


def test_nothing_has_no_duplicates() -> None:
    """An empty list, and pairs that the caller leaves out."""
    assert duplicates([]) == []
    still = thumbnails(np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3)).astype(np.uint8))
    assert len(duplicates([still, still])) == 1 and duplicates([still, still], lambda one, other: True) == []
