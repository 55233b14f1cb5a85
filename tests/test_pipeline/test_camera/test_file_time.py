from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.ticks import SECOND
from pipeline.camera.file_time import running_on
from pipeline.camera.picture import Picture

STEP = 40


def placed(stamps: list[int | None], *, joins: bool = False) -> list[int | None]:
    """Where pictures with these stamps (milliseconds) are placed, 25 a second."""
    milli = SECOND // 1000
    pictures = (
        Picture(None if at is None else at * milli, None, 0, 1, 1, False, False, None)  # type: ignore[arg-type]
        for at in stamps
    )
    found = list(running_on(pictures, STEP * milli, joins=joins))
    assert len(found) == len(stamps)
    return [None if one is None or one.pts is None else one.pts // milli for one in found]


@pytest.mark.parametrize("joins", [True, False])
@pytest.mark.parametrize("begins", [0, 1400, -5000, 12_400])
def test_joined_parts_follow_each_other(begins: int, joins: bool) -> None:
    """Stamps that begin anew go on where the part before them ended, as often as they do.

    0 40 ... 3960 | 0 40 ... | 0 40 ...   ->   0 40 ... 3960 4000 4040 ...
    """
    part = list(range(0, 4000, STEP))
    stamps: list[int | None] = [*(one + 9000 for one in part), *(begins + one for one in part * 2)]

    assert placed(stamps, joins=joins) == [9000 + STEP * number for number in range(300)]


def test_a_later_part_follows_where_a_format_joins_parts() -> None:
    """An hour between two stamps is another part of a transport stream; in other files it is a hole."""
    stamps: list[int | None] = [0, 40, 80, 3_600_000, 3_600_040, 3_600_080]

    assert placed(stamps, joins=True) == [0, 40, 80, 120, 160, 200]
    assert placed(stamps) == stamps


@pytest.mark.parametrize("joins", [True, False])
def test_a_hole_stays_a_hole(joins: bool) -> None:
    """Nine seconds without pictures pass in the file, too."""
    assert placed([0, 40, 9000, 9040], joins=joins) == [0, 40, 9000, 9040]


def test_a_stray_stamp_costs_its_own_picture() -> None:
    """One or two that agree with nobody are left untimed."""
    assert placed([0, 40, 900_000, 120, 160], joins=True) == [0, 40, None, 120, 160]
    assert placed([5000, 5040, 0, 7, 5160], joins=False) == [5000, 5040, None, None, 5160]


def test_a_short_last_part_is_kept() -> None:
    """A file that ends before a third picture could agree keeps what it has."""
    assert placed([8000, 8040, 0, 40]) == [8000, 8040, 8080, 8120]


def test_pictures_without_stamps_are_counted() -> None:
    """None has a stamp, or some have none: the rate of the stream tells."""
    assert placed([None] * 4) == [0, 40, 80, 120]
    assert placed([None, 5000, 5040, None, 5120]) == [0, 40, 80, 120, 160]


def test_stamps_that_stand_are_counted_and_doubled_ones_are_not_slowed() -> None:
    """Pictures that share a stamp follow it at the stream's rate; the next stamp that is later counts again."""
    assert placed([0] * 4) == [0, 40, 80, 120]
    assert placed([0, 0, 0, 120, 120, 120, 240]) == [0, 40, 80, 120, 160, 200, 240]
    fields = placed([at // 40 * 40 for at in range(0, 400, 20)])
    assert fields[-1] in range(360, 402)


@given(st.lists(st.one_of(st.none(), st.integers(-100_000, 100_000)), max_size=60), st.booleans())
def test_time_never_stands_or_steps_back(stamps: list[int | None], joins: bool) -> None:
    """Whatever the stamps are, those that are kept rise strictly, and no picture is lost."""
    milli = SECOND // 1000
    pictures = [
        Picture(None if at is None else at * milli, None, number, 1, 1, False, False, None)  # type: ignore[arg-type]
        for number, at in enumerate(stamps)
    ]
    found = list(running_on(iter(pictures), STEP * milli, joins=joins))

    assert [one.arrival for one in found if one] == list(range(len(stamps)))
    kept = [one.pts for one in found if one and one.pts is not None]
    assert all(later > earlier for earlier, later in pairwise(kept))
