from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.rewind import Trail, rewind


def test_rewind_is_the_oldest_frame_that_any_camera_needs() -> None:
    """R is the minimum over the cameras with an open session; without one it is P."""
    assert rewind(9, [3, 6, None]) == 3
    assert rewind(9, [None]) == 9


def test_a_trail_keeps_its_reach_and_the_frame_before() -> None:
    """With a reach of 4 ticks and the last tick at 10, tick 5 is the frame before the reach.

    tick     1  3  5  .  7  9  10
    offset   0  1  2     3  4   5
    kept           ^
    """
    trail = Trail(rewind_ticks=4, multiple=1, holds=2)
    for offset, tick in enumerate([1, 3, 5, 7, 9, 10]):
        trail.add(tick, offset)
    assert trail.oldest == 2


def test_the_frame_before_is_one_that_can_fill_a_tick() -> None:
    """With m = 2 only frames at even ticks become items, so tick 4 is kept and not tick 5.

    tick     4  5  .  7  8  9  10
    offset   0  1     2  3  4   5
    """
    trail = Trail(rewind_ticks=4, multiple=2, holds=2)
    for offset, tick in enumerate([4, 5, 7, 8, 9, 10]):
        trail.add(tick, offset)
    assert trail.oldest == 0


def test_a_frame_that_fills_nothing_any_more_is_let_go() -> None:
    """With m = 2 and one item held, frames at odd ticks alone must not keep tick 4 for ever.

    tick     4  5  7  9  11
    oldest   4  4  4  7   9      a reach of 4 ticks
    """
    trail, oldest = Trail(rewind_ticks=4, multiple=2, holds=1), []
    for tick in (4, 5, 7, 9, 11):
        trail.add(tick, offset=tick)
        oldest.append(trail.oldest)
    assert oldest == [4, 4, 4, 7, 9]


@given(st.integers(1, 20), st.integers(1, 3), st.lists(st.integers(1, 5), min_size=1, max_size=200))
def test_a_trail_is_bounded(reach: int, multiple: int, gaps: list[int]) -> None:
    """However long a session runs, its trail reaches back no further than the reach and one item frame before it."""
    trail = Trail(reach, multiple, holds=1000)
    ticks: list[int] = []
    for offset, gap in enumerate(gaps):
        ticks.append((ticks[-1] if ticks else 0) + gap)
        trail.add(ticks[-1], offset)
        older = [place for place, tick in enumerate(ticks) if tick <= ticks[-1] - reach and tick % multiple == 0]
        inside = next(place for place, tick in enumerate(ticks) if tick > ticks[-1] - reach)
        assert trail.oldest == (older[-1] if older else inside)
