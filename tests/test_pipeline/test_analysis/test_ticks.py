"""The tick grid.

rate 4, phase 32/64:  tick     0       1       2
                      time  .125s   .375s   .625s
                      0.124 -> -1, 0.125 -> 0, 0.374 -> 0, 0.375 -> 1
"""

from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.ticks import SECOND, phase_steps, tick_at, tick_ns

RATES = st.integers(1, 60)
CAMERAS = st.text(min_size=1, max_size=20)
INSTANTS = st.integers(0, 4_000_000_000 * SECOND)


def camera_of_phase(steps: int) -> str:
    """A camera id whose phase is the given number of sixty-fourths."""
    return next(f"camera-{number}" for number in range(10_000) if phase_steps(f"camera-{number}") == steps)


def test_the_phase_is_the_crc32_of_the_id_modulo_64() -> None:
    """Any two processes agree on a camera's phase, because it is a function of the id alone."""
    assert phase_steps("front-door") == crc32(b"front-door") % 64


def test_drawn_grid() -> None:
    """A frame answers the last tick at or before it."""
    camera = camera_of_phase(32)

    ticks = [tick_at(ms * 1_000_000, 4, camera) for ms in (124, 125, 374, 375, 625)]

    assert ticks == [-1, 0, 0, 1, 2]


@given(INSTANTS, RATES, CAMERAS)
def test_a_frame_lies_between_its_tick_and_the_next(instant: int, rate: int, camera: str) -> None:
    """tick_ns(k) <= t < tick_ns(k + 1) for the tick k of any instant t."""
    tick = tick_at(instant, rate, camera)

    assert tick_ns(tick, rate, camera) <= instant < tick_ns(tick + 1, rate, camera)


@given(st.integers(0, 2**40), RATES, CAMERAS)
def test_the_instant_of_a_tick_belongs_to_that_tick(tick: int, rate: int, camera: str) -> None:
    """Converting a tick to nanoseconds and back loses nothing, at any rate."""
    assert tick_at(tick_ns(tick, rate, camera), rate, camera) == tick


@given(INSTANTS, st.integers(1, 15), st.integers(1, 4), CAMERAS)
def test_cameras_are_spread_over_less_than_one_period(instant: int, rate: int, multiple: int, camera: str) -> None:
    """No phase moves a tick by a whole period: the grid of any camera is at most one tick behind the bare one."""
    bare = instant * rate // SECOND

    assert bare - 1 <= tick_at(instant, rate, camera) <= bare
