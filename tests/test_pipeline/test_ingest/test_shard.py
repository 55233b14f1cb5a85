"""Cameras split over processes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from pipeline.ingest.shard import Shard


@given(st.integers(1, 8), st.text(min_size=1))
def test_each_camera_has_exactly_one_owner(count: int, camera: str) -> None:
    """Whatever the id and the number of processes, one process owns the camera and the others do not."""
    assert sum(Shard(index, count).owns(camera) for index in range(count)) == 1


def test_cameras_spread_evenly() -> None:
    """A thousand cameras over four processes: none has more than a third."""
    owned = [sum(Shard(index, 4).owns(f"cam-{number}") for number in range(1000)) for index in range(4)]

    assert sum(owned) == 1000
    assert max(owned) < 334


def test_a_shard_is_read_from_text() -> None:
    """i/n, counted from zero."""
    assert Shard.parse("1/2") == Shard(1, 2)


@pytest.mark.parametrize("text", ["2/2", "1", "a/b", "1/0", "-1/2", ""])
def test_a_bad_shard_is_named(text: str) -> None:
    """The message shows what was given and what would be right."""
    with pytest.raises(ConfigurationError, match=r"i/n.*0/2 and 1/2"):
        Shard.parse(text)
