"""When a bundle says more than twice as much as another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.doubled_rate import LEAST_EVENTS, Counted, more_than_doubled

hours = st.floats(0.01, 1000)
few = st.integers(0, 500)


@pytest.mark.parametrize(
    ("before", "after", "doubled"),
    [
        ((3, 1.0), (9, 1.0), False),
        ((3, 1.0), (40, 1.0), True),
        ((40, 1.0), (80, 1.0), False),
        ((40, 1.0), (150, 1.0), True),
        ((40, 4.0), (40, 0.5), True),
        ((0, 1.0), (10, 1.0), False),
        ((0, 4.0), (10, 1.0), True),
        ((10, 0.0), (100, 1.0), False),
        ((0, 1.0), (0, 1.0), False),
        ((5000, 100.0), (12000, 100.0), True),
    ],
    ids=[
        "too few",
        "thirteen times",
        "twice",
        "almost four times",
        "eight times in an eighth of the time",
        "none before, in as short a time",
        "none before, in four times the time",
        "nothing before to compare with",
        "nothing at all",
        "2.4 times, of many",
    ],
)
def test_the_rule(before: tuple[int, float], after: tuple[int, float], doubled: bool) -> None:
    """Rates are compared, and few events prove nothing."""
    assert more_than_doubled(Counted(*before), Counted(*after)) is doubled


@given(before=few, after=few, watched=hours, watched_after=hours)
def test_what_is_not_more_than_twice_is_never_called_so(
    before: int, after: int, watched: float, watched_after: float
) -> None:
    """Chance may hide a doubling; it never makes one of a lower rate."""
    if after / watched_after <= 2 * before / watched:
        assert not more_than_doubled(Counted(before, watched), Counted(after, watched_after))


@given(before=few, after=st.integers(LEAST_EVENTS, 400), watched=hours, watched_after=hours)
def test_more_events_never_acquit(before: int, after: int, watched: float, watched_after: float) -> None:
    """Of two bundles over the same time, the one that says more is found first."""
    if more_than_doubled(Counted(before, watched), Counted(after, watched_after)):
        assert more_than_doubled(Counted(before, watched), Counted(after + 1, watched_after))
