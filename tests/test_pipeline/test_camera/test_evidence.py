"""Time stamps as cameras send them, for 80 s each, on a grid of four ticks."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.analysis.ticks import SECOND
from pipeline.camera.capture_time import CaptureTimes, Stamps
from pipeline.camera.evidence import Pace, delivered_rate

MILLI = 1_000_000
ZERO = 1_795_234_000 * SECOND
SPAN = 80
RATE = 4


@dataclass
class Watched:
    """What came of a camera: its sessions, the share of its ticks that were answered, and how far captures were off."""

    sessions: int
    share: float
    worst: float
    """Largest distance of a capture time from the true one, in seconds, over the last half of the time."""
    fault: str | None


def watch(
    stamp: Callable[[int, float], float | None],
    *,
    fps: float = 25,
    reports: Callable[[int, float], float] | None = None,
    delay: Callable[[int, float], float] = lambda number, at: 0.05,
    span: float = SPAN,
) -> Watched:
    """Watch a camera. `stamp` gives the time stamp of picture number at a time, `reports` its own clock, `delay` how
    late it arrives; all in seconds."""
    one = CaptureTimes("door", RATE, 5 * SECOND)
    sessions: set[int] = set()
    ticks: set[int] = set()
    worst = 0.0
    for number in range(round(span * fps)):
        at = number / fps
        pts, clock = stamp(number, at), reports and reports(number, at)
        timed = one.of(
            Stamps(
                None if pts is None else round(pts * SECOND),
                None if clock is None else ZERO + round(clock * SECOND),
                ZERO + round((at + delay(number, at)) * SECOND),
                160,
                120,
            )
        )
        if timed:
            sessions.add(timed.session)
            ticks |= set() if timed.tick is None else {timed.tick}
            if at > span / 2:
                worst = max(worst, abs((timed.capture - ZERO) / SECOND - at))
    return Watched(len(sessions), len(ticks) / (span * min(RATE, fps)), worst, one.fault)


@pytest.mark.parametrize("reported", [False, True])
@pytest.mark.parametrize("off", [37_600.0, -37_600.0, 1.5, -1.5, 10.0, -3.0])
@pytest.mark.parametrize("odd", [{49}, {48, 49}, {10, 11, 30}])
def test_a_stray_stamp_costs_its_own_picture(off: float, odd: set[int], reported: bool) -> None:
    """One or two pictures in fifty are stamped seconds or hours off, ahead or back, with sender reports or without.

    PTS      0 .04 .08 37600.12 .16 .20
    taken    *   *   *            *   *
    session  ------------- 1 ----------
    """

    def stray(number: int, at: float) -> float:
        return at + (off if number % 50 in odd else 0.0)

    found = watch(stray, reports=stray if reported else None)

    assert found.sessions == 1
    assert found.share >= 0.98
    assert found.worst < 0.2


def test_strays_that_agree_on_nothing_cost_themselves() -> None:
    """Several odd stamps in a row, each elsewhere, are no jump."""
    chance = random.Random(3)

    found = watch(lambda number, at: at + (chance.uniform(-9000, 9000) if number % 50 > 44 else 0.0))

    assert found.sessions == 1
    assert found.share >= 0.98


def test_a_first_stamp_that_strays_opens_no_session_of_its_own() -> None:
    """The line of a connection counts once three pictures have confirmed it."""
    assert watch(lambda number, at: at + (500.0 if number == 0 else 0.0)).sessions == 1


@pytest.mark.parametrize("reported", [False, True])
@pytest.mark.parametrize("off", [3600.0, -3600.0, 2.0])
def test_a_jump_for_good_is_two_sessions(off: float, reported: bool) -> None:
    """From 30 s on all stamps are further, or back: a second session, and no tick is lost."""

    def jump(number: int, at: float) -> float:
        return at + (off if at >= 30 else 0.0)

    found = watch(jump, reports=(lambda number, at: at) if reported else None)

    assert found.sessions == 2
    assert found.share >= 0.99


@pytest.mark.parametrize(("fps", "said"), [(20, 25), (12.5, 25), (5, 25), (3, 25), (15, 16), (25, 26), (4, 30)])
def test_stamps_of_another_pace_move_the_camera_to_arrival(fps: float, said: float) -> None:
    """Stamps say `said` pictures a second, `fps` are delivered: capture times follow arrival, in one session or two.

    PTS      0 40 80 120 160 ...
    arrival  0 50 100 150 200 ...
    """
    found = watch(lambda number, at: number / said, fps=fps)

    assert found.sessions <= 2
    assert found.share >= 0.92
    assert found.worst < 2.0


@pytest.mark.parametrize(("fps", "said"), [(30, 15), (25, 5), (20, 18)])
def test_stamps_that_run_ahead_stay_in_one_session(fps: float, said: float) -> None:
    """Stamps of 15 pictures a second, 30 delivered: the line follows, and every tick is answered."""
    found = watch(lambda number, at: number / said, fps=fps)

    assert found.sessions == 1
    assert found.share >= 0.98


@pytest.mark.parametrize("period", [1.0, 5.0])
@pytest.mark.parametrize("pace", [0.5, 0.8, 2.0])
def test_sender_reports_do_not_believe_a_wrong_pace_either(pace: float, period: float) -> None:
    """Between two reports the camera's clock runs with its time stamps, so each report moves it: not again and again
    a session."""

    def clock(number: int, at: float) -> float:
        reported = at // period * period
        return reported + (at - reported) * pace

    found = watch(lambda number, at: at * pace, reports=clock)

    assert found.sessions <= 4
    assert found.share >= 0.85  # what a clock that runs ahead or behind until the next report can answer


@pytest.mark.parametrize("reported", [False, True])
@pytest.mark.parametrize(("fps", "each"), [(25, 1e9), (25, 2.0), (25, 0.5), (5, 2.0), (10, 20.0), (2, 1e9)])
def test_stamps_that_stand_still_are_none(fps: float, each: float, reported: bool) -> None:
    """Stamps that never move, or once in two seconds: times of arrival count, and no session is lost over it."""

    def standing(number: int, at: float) -> float:
        return at // each * each

    found = watch(standing, fps=fps, reports=standing if reported else None)

    assert found.sessions <= 3
    assert found.share >= 0.9
    assert found.fault == "they stand still"
    assert found.worst < 0.2


def test_doubled_stamps_are_used() -> None:
    """Two fields of a picture may come with the same stamp."""
    found = watch(lambda number, at: number // 2 / 12.5)

    assert (found.sessions, found.fault) == (1, None)
    assert found.share >= 0.99


def test_pictures_without_stamps_are_placed_by_arrival() -> None:
    """A live stream that knows no time stamps: from the third picture on times of arrival count."""
    found = watch(lambda number, at: None, fps=5)

    assert found.sessions == 1
    assert found.share >= 0.95


@pytest.mark.parametrize("reported", [False, True])
def test_stamps_that_agree_on_nothing_are_none(reported: bool) -> None:
    """Every stamp is elsewhere: arrival counts after two seconds."""
    chance = random.Random(5)
    found = watch(lambda number, at: chance.uniform(0, 50_000), reports=(lambda n, at: at) if reported else None)

    assert found.sessions <= 2
    assert found.share >= 0.9


def test_jumps_without_end_are_no_sessions_without_end() -> None:
    """Stamps that begin again every ten seconds, as of a film in a loop: two jumps, then arrival."""
    found = watch(lambda number, at: at % 10)

    assert found.sessions <= 3
    assert found.share >= 0.97


def test_stamps_that_keep_time_again_are_used_again() -> None:
    """For 20 s the stamps stand still, then they run: after ten sound seconds they count, in the same session.

    PTS      0 0 0 0 0 0 | 20 21 22 ... 31 |
    capture   arrival    |  arrival        | PTS
    """
    found = watch(lambda number, at: max(0.0, at - 20))

    assert (found.sessions, found.fault) == (1, None)


def test_a_congested_network_is_no_wrong_pace() -> None:
    """Pictures come ever later and then in a burst, again and again: the stamps stay in use, and no session ends."""

    def late(number: int, at: float) -> float:
        return 0.05 + max(0.0, 0.9 - at % 3)

    found = watch(lambda number, at: at, delay=late)

    assert (found.sessions, found.fault) == (1, None)
    assert found.share >= 0.99


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.0, 0.04), st.sampled_from([5, 12, 25, 30]))
def test_few_strays_never_cost_the_session(seed: int, share: float, fps: int) -> None:
    """However few strays are spread, and wherever they stray, one session holds nearly every tick."""
    chance = random.Random(seed)

    def stray(number: int, at: float) -> float:
        return at + (chance.choice([-1, 1]) * chance.uniform(1.1, 50_000) if chance.random() < share else 0.0)

    found = watch(stray, fps=fps, span=30)

    assert found.sessions == 1
    assert found.share >= 0.8


@pytest.mark.parametrize(
    ("said", "came", "rate"), [(25, 20, 20), (15, 30, 30), (25, 25, 25), (25, 25.5, 25), (1e9, 5, 5)]
)
def test_the_rate_is_what_is_delivered(said: float, came: float, rate: float) -> None:
    """Time stamps tell the rate, since they are even, unless arrivals contradict; the first half second may be a burst
    of what waited to be read."""
    times = [
        (round(number / said * SECOND), round(max(0.4, number / came) * SECOND)) for number in range(round(10 * came))
    ]

    assert delivered_rate(times) == pytest.approx(rate, rel=0.01)
    assert delivered_rate(times[:1]) is None


def test_a_pace_is_wrong_only_while_it_is_steady() -> None:
    """Four even seconds make a pace; uneven ones are a network."""
    even, uneven = Pace(), Pace()
    for second, lag in enumerate([0.0, 0.0, 0.4, 0.1, 0.6, 0.0]):
        even.add(round(second * 0.8 * SECOND), second * SECOND)
        uneven.add(round((second - lag) * SECOND), second * SECOND)

    assert even.wrong(4)
    assert not uneven.wrong(4)
    assert not even.sound
