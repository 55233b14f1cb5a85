from pathlib import Path

import pytest

from pipeline.analysis.ticks import SECOND, tick_ns
from pipeline.camera.sampling import sample_file
from pipeline.errors import CameraRefused
from pipeline.local.test_card import number_of

ZERO = 1_795_234_000 * SECOND


def test_a_file_is_sampled_as_a_camera_would_be(card_file: Path) -> None:
    """Four seconds on a grid of four ticks a second: each tick takes the first picture at or after it."""
    found = list(sample_file(card_file, "door", 4, ZERO, short_side=120))

    assert len(found) in (16, 17)
    assert [frame.sequence for frame in found] == list(range(len(found)))
    for frame in found[1:]:
        assert 0 <= frame.capture_ns - tick_ns(frame.tick, 4, "door") < SECOND // 25
        assert number_of(frame.image) == round((frame.capture_ns - ZERO) * 25 / SECOND)
        assert frame.image.shape == (120, 160, 3)
    assert {(frame.camera, frame.session, frame.rate, frame.clock) for frame in found} == {
        ("door", ZERO // 1_000_000, 4, "arrival")
    }


def test_the_same_file_gives_the_same_samples(card_file: Path) -> None:
    """Sampling a file twice gives the same pictures, bit for bit."""
    one, other = (list(sample_file(card_file, "door", 2, ZERO)) for _ in range(2))

    assert [frame.image.tobytes() for frame in one] == [frame.image.tobytes() for frame in other]
    assert [frame.tick for frame in one] == [frame.tick for frame in other]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there raises before the first picture."""
    with pytest.raises(CameraRefused, match="no such file"):
        next(sample_file(tmp_path / "missing.mp4", "door", 4, ZERO))
