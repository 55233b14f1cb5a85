from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.ticks import SECOND, tick_at, tick_ns
from pipeline.camera.capture_time import CaptureTime, CaptureTimes, Stamps, SteadyClock, next_session

MILLI = 1_000_000
ZERO = 1_795_234_000 * SECOND
"""Wall-clock instant at which the streams of these tests begin."""


def capture_times(rate: int = 4) -> CaptureTimes:
    """Capture times of camera `door`, with five seconds of tolerance."""
    return CaptureTimes("door", rate, 5 * SECOND)


def stream(
    milliseconds: list[int], *, delay: int | list[int] = 50, camera_ahead: int | None = None, first_pts: int = 0
) -> list[Stamps]:
    """Pictures captured at these milliseconds; delays and the camera's clock error in milliseconds."""
    delays = [delay] * len(milliseconds) if isinstance(delay, int) else delay
    return [
        Stamps(
            pts=(first_pts + at) * MILLI,
            reference=None if camera_ahead is None else ZERO + (at + camera_ahead) * MILLI,
            arrival=ZERO + (at + late) * MILLI,
            width=320,
            height=240,
        )
        for at, late in zip(milliseconds, delays, strict=True)
    ]


def times_of(one: CaptureTimes, pictures: list[Stamps]) -> list[CaptureTime]:
    """The capture time of each picture; none of these lacks a time stamp."""
    found = [one.of(picture) for picture in pictures]
    assert None not in found
    return [timed for timed in found if timed]


def captures(timed: list[CaptureTime]) -> list[int]:
    """Capture times in milliseconds from ZERO."""
    return [(one.capture - ZERO) // MILLI for one in timed]


def reasons(timed: list[CaptureTime]) -> list[str | None]:
    """Why sessions began."""
    return [one.opened for one in timed]


def test_a_burst_after_a_stall_keeps_its_spacing() -> None:
    """By arrival, the picture that travelled fastest fixes the line, so late ones are not squeezed together.

    capture  0   100 200 300 400 500
    arrival  50  150         ......  900 901 902 (a stall), 950
    """
    pictures = stream([0, 100, 200, 300, 400, 900], delay=[50, 50, 700, 601, 502, 50])

    timed = times_of(capture_times(), pictures)

    assert captures(timed) == [50, 150, 250, 350, 450, 950]
    assert {one.clock for one in timed} == {"arrival"}
    assert reasons(timed) == ["opened"] + [None] * 5


def test_the_line_improves_while_faster_pictures_come() -> None:
    """A first burst is late; once pictures arrive in time, captures follow the smallest delay of the session."""
    timed = times_of(capture_times(), stream([0, 40, 80, 120, 160], delay=[400, 300, 200, 100, 60]))

    assert captures(timed) == [400, 340, 280, 220, 220]
    assert reasons(timed) == ["opened", None, None, None, None]


def test_the_cameras_clock_is_used_where_it_is_near() -> None:
    """With sender reports within the tolerance, capture time is the camera's; the offset is known."""
    timed = times_of(capture_times(), stream([0, 250, 500], delay=[50, 80, 90], camera_ahead=1500, first_pts=777_000))

    assert captures(timed) == [1500, 1750, 2000]
    assert {one.clock for one in timed} == {"rtcp"}
    assert timed[-1].clock_offset == (1500 - 50) * MILLI


def test_a_clock_too_far_off_is_not_used() -> None:
    """An hour off: captures come from arrival, and the offset is known."""
    timed = times_of(capture_times(), stream([0, 250], camera_ahead=3_600_000))

    assert captures(timed) == [50, 300]
    assert timed[0].clock == "arrival"
    assert timed[0].clock_offset == (3_600_000 - 50) * MILLI


def test_the_first_sender_report_starts_a_new_session() -> None:
    """Until the first report the clock is arrival; with it a newer session begins, and keeps its clock between reports.

    report                    R
    session  |---- arrival ---|---- rtcp ------
    """
    pictures = stream([0, 250, 500]) + stream([750], camera_ahead=20) + stream([1000])

    timed = times_of(capture_times(), pictures)

    assert [one.clock for one in timed] == ["arrival"] * 3 + ["rtcp"] * 2
    assert reasons(timed) == ["opened", None, None, "clock", None]
    assert timed[3].session > timed[2].session
    assert captures(timed)[3:] == [770, 1020]


def test_a_clock_at_the_edge_of_the_tolerance_does_not_flap() -> None:
    """A clock that was too far off is used again only once it is clearly inside the tolerance."""
    one = capture_times()
    offsets = [4900, 5100, 4900, 5100, 4100, 3900, 4900]
    pictures = [stream([250 * at], camera_ahead=ahead + 50)[0] for at, ahead in enumerate(offsets)]

    timed = times_of(one, pictures)

    assert [one.clock for one in timed] == ["rtcp"] + ["arrival"] * 4 + ["rtcp"] * 2


@pytest.mark.parametrize(("ahead", "reason"), [(10_000, "jump"), (-1500, "jump"), (900, None), (-900, None)])
def test_a_jump_of_the_time_stamps_starts_a_session(ahead: int, reason: str | None) -> None:
    """Time stamps that move more than a second further, or back, than time itself belong to a new session, once three
    pictures in a row agree on it.

    PTS      0 40 80 | 10120 10160 10200 10240
    arrival  0 40 80 |   120   160   200   240
    taken    *  *  * |                 *     *
    """
    pictures = stream([0, 40, 80]) + stream([120, 160, 200, 240], first_pts=ahead)

    one = capture_times()
    timed = [one.of(picture) for picture in pictures]

    if reason:
        assert timed[3:5] == [None, None]
        assert reasons([found for found in timed if found])[3:] == [reason, None]
        assert captures([found for found in timed if found])[3:] == [250, 290]
    else:
        assert reasons([found for found in timed if found]) == ["opened"] + [None] * 6


def test_a_gap_is_not_a_jump() -> None:
    """Ten seconds without pictures, in time stamps and on the clock alike, leave the session as it is."""
    assert reasons(times_of(capture_times(), stream([0, 40, 10_000, 10_040]))) == ["opened", None, None, None]


def test_a_stall_with_a_gap_is_not_a_jump() -> None:
    """After a stall of three seconds old pictures come in a burst, then a gap, then live ones: one session."""
    pictures = stream([0, 40, 80, 120, 3100, 3140], delay=[50, 50, 3050, 3020, 50, 50])

    assert reasons(times_of(capture_times(), pictures)) == ["opened"] + [None] * 5


def test_a_step_of_the_cameras_clock_starts_a_session() -> None:
    """When reports move the wall clock by more than a second against the time stamps, a new session begins."""
    pictures = stream([0, 250], camera_ahead=0) + stream([500, 750], camera_ahead=-3000)

    timed = times_of(capture_times(), pictures)

    assert reasons(timed) == ["opened", None, "step", None]
    assert captures(timed) == [0, 250, -2500, -2250]


def test_slow_drift_is_followed_by_a_new_session() -> None:
    """Time stamps one part in fifty too slow: once they are a second behind for good, a new session catches up."""
    pictures = [replace(seen, pts=(seen.pts or 0) * 49 // 50) for seen in stream(list(range(0, 120_000, 200)))]

    timed = times_of(capture_times(), pictures)

    drifted = [number for number, one in enumerate(timed) if one.opened == "drift"]
    assert len(drifted) in (1, 2)
    assert max(picture.arrival - one.capture for picture, one in zip(pictures, timed, strict=True)) < 1.5 * SECOND


@pytest.mark.parametrize(("late", "slow"), [(1450, 1.0), (0, 0.98)])
def test_by_the_cameras_clock_neither_congestion_nor_drift_starts_a_session(late: int, slow: float) -> None:
    """Capture times are the camera's own: pictures that travel for longer, or time stamps that run slow, change none.

    captured  0 ........ 40 s ........ 60 s ........ 120 s
    delay     50 ms       | 1.5 s       | 50 ms               or 50 ms throughout, and a crystal that is slow
    session   ------------------------ 1 ------------------
    """
    times = list(range(0, 120_000, 200))
    delays = [50 + (late if 40_000 <= at < 60_000 else 0) for at in times]
    pictures = [
        replace(seen, pts=round((seen.pts or 0) * slow)) for seen in stream(times, delay=delays, camera_ahead=0)
    ]

    timed = times_of(capture_times(), pictures)

    assert reasons(timed) == ["opened"] + [None] * (len(times) - 1)
    assert captures(timed) == times
    assert {one.clock for one in timed} == {"rtcp"}


def test_another_size_starts_a_session_and_keeps_the_line() -> None:
    """A change of resolution opens a session with its first tick; capture times go on as before."""
    pictures = stream([0, 250, 500], delay=[50, 90, 95])
    pictures[2] = replace(pictures[2], width=640)

    timed = times_of(capture_times(), pictures)

    assert reasons(timed) == ["opened", None, "size"]
    assert captures(timed) == [50, 300, 550]
    assert timed[2].sequence == 0


def test_a_picture_without_time_stamp_has_no_capture_time() -> None:
    """The first picture of an RTSP stream has no PTS: it is left out, and the next one opens the session."""
    one = capture_times()
    first, second = stream([0, 40])

    assert one.of(replace(first, pts=None)) is None
    assert one.of(second) is not None


def test_each_tick_is_answered_by_the_first_picture_at_or_after_it() -> None:
    """At 25 pictures a second and 4 ticks, each tick takes the first picture at or after it and before the next.

    pictures   . . . . . . . . . . . . .
    ticks         k         k+1
    answered      ^         ^
    """
    timed = times_of(capture_times(), stream(list(range(0, 2000, 40)), camera_ahead=0))

    answered = [one for one in timed if one.tick is not None]
    assert [one.sequence for one in answered] == list(range(len(answered)))
    for one in answered[1:]:
        assert one.tick is not None
        assert 0 <= one.capture - tick_ns(one.tick, 4, "door") < 40 * MILLI


def test_a_camera_slower_than_the_grid_leaves_ticks_out() -> None:
    """Two pictures a second on a grid of four answer every other tick."""
    ticks = [one.tick for one in times_of(capture_times(), stream(list(range(0, 5000, 500)), camera_ahead=0))]

    assert None not in ticks
    assert {later - earlier for earlier, later in pairwise(ticks) if later and earlier} == {2}


@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(0, 900), st.booleans()), min_size=2, max_size=80),
    st.sampled_from([1, 4, 15]),
)
def test_ticks_rise_and_sessions_follow_each_other(steps: list[tuple[int, int, bool]], rate: int) -> None:
    """However pictures are delayed and reports come and go: in a session ticks rise and sequences count, each tick
    holds its capture time, and sessions never step back."""
    one = CaptureTimes("door", rate, 5 * SECOND)
    at, last = 0, None
    for step, late, reported in steps:
        at += step
        [seen] = stream([at], delay=late, camera_ahead=10 if reported else None)
        timed = one.of(seen)
        assert timed is not None
        if timed.tick is not None:
            assert timed.tick == tick_at(timed.capture, rate, "door")
            if last and last.session == timed.session:
                assert timed.tick > last.tick
                assert timed.sequence == last.sequence + 1
            else:
                assert timed.opened is not None
                assert timed.sequence == 0
                assert last is None or timed.session > last.session
            last = timed


def test_a_restart_may_ask_for_sessions_later_than_another_ones() -> None:
    """The next picture opens one that is newer than the given one, and than its own before."""
    one = capture_times()
    [first, second, third] = [stream([at])[0] for at in (0, 250, 500)]
    opened = one.of(first)
    assert opened is not None

    one.restart(opened.session + 5_000)
    ahead = one.of(second)
    one.restart(opened.session)
    later = one.of(third)

    assert ahead and ahead.session == opened.session + 5_001
    assert later and later.session == opened.session + 5_002


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_sessions_strictly_increase(previous: int, now: int) -> None:
    """A session id is wall time in ms, or one more than the last where the clock has not moved on."""
    assert next_session(previous, now) == max(previous + 1, now // MILLI)


def test_a_step_of_the_wall_clock_is_announced_once() -> None:
    """Ingest's clock runs evenly with the monotonic one; when the wall clock is set, it follows and reports the step.

    wall       100 101 102 | 62  63
    monotonic    0   1   2 |  3   4
    """
    clock = SteadyClock()

    assert [clock.instant(wall * SECOND, steady * SECOND) for wall, steady in ((100, 0), (101, 1))] == [
        (100 * SECOND, False),
        (101 * SECOND, False),
    ]
    assert clock.instant(102 * SECOND + 400 * MILLI, 2 * SECOND) == (102 * SECOND, False)
    assert clock.instant(62 * SECOND, 3 * SECOND) == (62 * SECOND, True)
    assert clock.instant(63 * SECOND, 4 * SECOND) == (63 * SECOND, False)
