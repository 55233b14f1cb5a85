import pytest

from pipeline.local.rtsp import Media, Mount
from pipeline.local.rtsp.mount import Segment


@pytest.mark.parametrize(
    ("elapsed", "expected"),
    [(-5.0, (0, 0)), (0.0, (0, 0)), (0.01, (0, 25)), (1.0, (0, 25)), (1.01, (1, 0)), (2.0, (1, 0)), (6.5, (3, 25))],
)
def test_who_joins_starts_with_the_next_key_picture(card: Media, elapsed: float, expected: tuple[int, int]) -> None:
    """Key pictures K stand at the whole seconds of a pass of two seconds.

    time   0         1         2         3
           K - - - - K - - - - K - - - - K
                     ^ 0.01 ... 1.0 start here: pass 0, picture 25
    """
    assert Segment(card, 1000.0).start(1000.0 + elapsed) == expected


def test_time_runs_on_from_pass_to_pass(card: Media) -> None:
    """Picture 25 of the third pass was captured five seconds after time zero."""
    segment = Segment(card, 1000.0)

    assert segment.capture(2, card.units[25]) == pytest.approx(1005.0)
    assert segment.due(2, card.units[25]) == pytest.approx(1005.0)


def test_time_zero_is_told_or_set_by_the_first_client(card: Media) -> None:
    """A given time zero stays; otherwise the first start sets it, and later ones change nothing."""
    fixed, free = Mount(card, zero=50.0), Mount(card)
    for mount in (fixed, free):
        mount.start(70.0)
        mount.start(90.0)

    assert (fixed.zero, free.zero) == (50.0, 70.0)


def test_a_time_line_that_has_not_started_says_so(card: Media) -> None:
    """Asking what plays before anything does is a programmer's mistake with a clear message."""
    with pytest.raises(RuntimeError, match="call start"):
        Mount(card).segment()


def test_time_stamps_follow_wall_clock_and_jump(card: Media) -> None:
    """One second is 90000 units, whatever file plays; a jump adds to it."""
    mount = Mount(card, zero=100.0, first_timestamp=2**32 - 10)
    mount.switch(card, 160.0)

    assert mount.timestamp(101.0, 0.0) == 2**32 - 10 + 90_000
    assert mount.timestamp(101.0, 10.0) - mount.timestamp(101.0, 0.0) == 900_000
    assert mount.segment().zero == 160.0
