import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.windows import Due, Grid, Ring, Window


def run(grid: Grid, rate: int, ticks: list[int]) -> list[Due[str]]:
    """Push frames named after their position at these ticks; offsets count from 100."""
    ring: Ring[str] = Ring(grid, rate)
    return [due for place, tick in enumerate(ticks) for due in ring.push(tick, 100 + place, chr(ord("a") + place))]


def drawn(due: list[Due[str]]) -> list[str]:
    """Windows as `tick:items`, passed due ticks as `tick:-`."""
    words = []
    for one in due:
        if isinstance(one, Window):
            words.append(f"{one.tick}:" + "".join(slot.item for slot in one.slots))
        else:
            words += [f"{tick}:-" for tick in one]
    return words


def test_windows_are_cut_at_due_ticks() -> None:
    """The timeline of the module's docstring.

    tick     0   1   2   3   4   5   6   7   8   9  10  11  12
    frame    a   b   c   d   -   e   f   -   -   -   g   h   i
    """
    due = run(Grid(frames=3, multiple=1, stride=2), 4, [0, 1, 2, 3, 5, 6, 10, 11, 12])
    assert drawn(due) == ["0:-", "2:abc", "4:cdd", "6:def", "8:-", "10:-", "12:ghi"]


def test_a_bundle_of_half_the_rate_uses_every_other_tick() -> None:
    """With m = 2 and s = 1 windows end at even ticks; the gap between ticks 4 and 10 holds two items.

    tick    0   2   4   6   8   10
    frame   a   b   c   -   -   d
    """
    due = run(Grid(frames=2, multiple=2), 8, [0, 2, 4, 10])
    assert drawn(due) == ["0:-", "2:ab", "4:bc", "6:cc", "8:cc", "10:cd"]


def test_frames_between_item_ticks_tell_that_time_goes_on() -> None:
    """With m = 2 and one item held a camera that sends at odd ticks alone passes due ticks, and later begins anew.

    tick    0   2   3   5   7   9  10  12
    frame   a   b   .   .   .   .   c   d
    due     -  ab           4,6 8   -  cd
    """
    ring: Ring[str] = Ring(Grid(frames=2, multiple=2), 4)
    due = [*ring.push(0, 0, "a"), *ring.push(2, 2, "b")]
    assert drawn(due) == ["0:-", "2:ab"]
    assert [drawn(ring.lapse(tick)) for tick in (3, 5, 7, 9)] == [[], [], ["4:-", "6:-"], ["8:-"]]
    assert drawn([*ring.push(10, 10, "c"), *ring.push(12, 12, "d")]) == ["10:-", "12:cd"]


def test_a_gap_longer_than_half_a_second_empties_the_ring() -> None:
    """At 8 ticks per second and m = 1 four missing ticks are held, five are not."""
    assert drawn(run(Grid(2), 8, [0, 1, 6]))[-1] == "6:bc"
    assert drawn(run(Grid(2), 8, [0, 1, 7])) == ["0:-", "1:ab", "2:-", "3:-", "4:-", "5:-", "6:-", "7:-"]


def test_one_missing_tick_is_always_held() -> None:
    """At one tick per second half a second is less than a tick, yet one missing tick is filled."""
    assert drawn(run(Grid(2), 1, [0, 1, 3])) == ["0:-", "1:ab", "2:bb", "3:bc"]


def test_a_window_knows_the_records_behind_it() -> None:
    """Offsets are those of accepted frames; a held item keeps the offset of the frame that it repeats."""
    due = run(Grid(3), 4, [0, 2, 3])
    assert [one.offsets for one in due if isinstance(one, Window)] == [(100, 101), (100, 102)]


def test_a_jump_costs_no_memory() -> None:
    """Passed due ticks come as one range, however long the gap is."""
    due = run(Grid(2), 4, [0, 10**15])
    assert due[1] == range(1, 10**15) and due[2] == range(10**15, 10**15 + 1)


@pytest.mark.parametrize("bad", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_a_grid_of_nothing_is_refused(bad: tuple[int, int, int]) -> None:
    """A grid needs at least one frame, multiple and stride."""
    with pytest.raises(ValueError, match="at least"):
        Grid(*bad)


@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([1, 2, 4, 8]),
    st.lists(st.integers(1, 12), min_size=1, max_size=30),
)
def test_every_due_tick_is_answered_once(frames: int, multiple: int, stride: int, rate: int, gaps: list[int]) -> None:
    """Each due tick between the first and the last frame brings one window or one pass, in order; windows are whole."""
    grid = Grid(frames, multiple, stride)
    ticks = [multiple * sum(gaps[: place + 1]) for place in range(len(gaps))]
    due = run(grid, rate, ticks)
    answered = [tick for one in due for tick in ([one.tick] if isinstance(one, Window) else one)]
    assert answered == list(grid.due(ticks[0] - 1, ticks[-1]))
    assert all(len(one.slots) == frames for one in due if isinstance(one, Window))


@given(st.integers(1, 5), st.integers(1, 3), st.lists(st.integers(1, 6), min_size=1, max_size=30), st.data())
def test_a_window_depends_on_its_span_and_the_frame_before(
    frames: int, multiple: int, gaps: list[int], data: st.DataObject
) -> None:
    """A ring that starts at the last frame before its span gives the windows of one that saw everything."""
    grid, rate = Grid(frames, multiple), 4
    ticks = [multiple * sum(gaps[: place + 1]) for place in range(len(gaps))]
    cut = data.draw(st.integers(0, len(ticks) - 1))
    begin = ticks[cut] - frames * multiple
    first = max((place for place, tick in enumerate(ticks) if tick <= begin), default=0)
    whole: Ring[int] = Ring(grid, rate)
    late: Ring[int] = Ring(grid, rate)
    for place, tick in enumerate(ticks):
        seen = whole.push(tick, place, place)
        if place >= first:
            again = late.push(tick, place, place)
            if place > cut:
                assert again == seen
