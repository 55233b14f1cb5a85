from itertools import pairwise
from pathlib import Path

import pytest
import structlog

from pipeline.analysis.ticks import SECOND, tick_ns
from pipeline.camera.sampling import sample_file
from pipeline.errors import CameraRefused
from pipeline.local.test_card import number_of, write_test_card

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


@pytest.mark.parametrize(
    ("name", "codec"), [("card.h264", "libx264"), ("card.hevc", "libx265"), ("card.mjpeg", "mjpeg")]
)
def test_a_file_without_time_stamps_is_counted(tmp_path: Path, name: str, codec: str) -> None:
    """A recorder's elementary stream gives its pictures at the stream's rate, and says so once."""
    file = write_test_card(tmp_path / name, seconds=6, width=160, height=120, codec=codec)

    with structlog.testing.capture_logs() as logs:
        found = list(sample_file(file, "door", 4, ZERO, short_side=120))

    assert len(found) in (24, 25)
    for frame in found:
        assert number_of(frame.image) == round((frame.capture_ns - ZERO) * 25 / SECOND)
    assert [line["frames_a_second"] for line in logs] == [25.0]


@pytest.mark.parametrize(("order", "name"), [("abc", "joined.ts"), ("cab", "joined.ts"), ("ab", "joined.mpg")])
def test_recordings_joined_into_one_file_follow_each_other(tmp_path: Path, order: str, name: str) -> None:
    """Stamps begin anew in the middle, earlier or much later than those before: ticks rise strictly, in one session."""
    codec = "mpeg2video" if name.endswith("mpg") else "libx264"
    parts = {}
    for letter, begins in (("a", 0), ("b", 0), ("c", 5000)):
        part = tmp_path / f"{letter}{name}"
        write_test_card(part, seconds=6.4, width=160, height=120, codec=codec, begins=begins)
        parts[letter] = part.read_bytes()
    joined = tmp_path / name
    joined.write_bytes(b"".join(parts[letter] for letter in order))

    found = list(sample_file(joined, "door", 4, ZERO, short_side=120))

    ticks = [frame.tick for frame in found]
    assert all(later > earlier for earlier, later in pairwise(ticks))
    assert len(ticks) >= 25 * len(order)
    assert ticks[-1] - ticks[0] <= len(order) * 6.4 * 4 + 1
    assert len({frame.session for frame in found}) == 1
