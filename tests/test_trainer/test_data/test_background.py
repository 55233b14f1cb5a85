"""The time between labelled parts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trainer.data.background import MARGIN, between
from trainer.data.manifest import Clip


def test_what_lies_between_two_parts_is_background() -> None:
    """Less a margin, of the same split and group, and only where it is long enough.

    a.mp4   |--0-2--|    |-3-4-|          |-9-10-|         |-20-21 validate-|
    found                       4.5 - 8.5
    """
    clips = [
        Clip("a.mp4", "x", 0.0, 2.0, group="g"),
        Clip("a.mp4", "y", 9.0, 10.0, group="g"),
        Clip("a.mp4", "x", 3.0, 4.0, group="g"),
        Clip("a.mp4", "x", 20.0, 21.0, "validate"),
        Clip("b.mp4", "x"),
        Clip("c.mp4", "x", 5.0, 6.0),
    ]
    assert between(clips, 1.0) == [Clip("a.mp4", "", 4.5, 8.5, group="g", role="background")]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9), st.booleans()), max_size=8))
def test_background_touches_no_labelled_part(parts: list[tuple[int, int, bool]]) -> None:
    """Not even by the margin, however parts overlap."""
    clips = [
        Clip("a.mp4", "x", float(start), float(start + length), "train" if train else "test")
        for start, length, train in parts
    ]
    for gap in between(clips, 0.5):
        assert gap.end is not None and gap.end - gap.start >= 0.5
        for clip in clips:
            assert clip.until + MARGIN <= gap.start or clip.start - MARGIN >= gap.end
