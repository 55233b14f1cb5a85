import pytest

from pipeline.analysis.camera_streams import Geometry
from pipeline.worker.overload import FALL_SECONDS, RISE_SECONDS, SHARES, Pressure, Relief, left_out, steps

BASE = Geometry(8, 4)


def test_a_frame_bundle_spreads_its_items_first() -> None:
    """Its cost lies in the encoding, so fewer frames come before fewer windows. Cameras are left out last."""
    found = steps(BASE, (1, 2), (1, 2, 4), "frame")
    assert [(one.geometry.spread, one.geometry.stride, one.share) for one in found] == [
        (1, 1, 0),
        (2, 1, 0),
        (2, 2, 0),
        (2, 4, 0),
        *((2, 4, share) for share in SHARES),
    ]


def test_a_clip_bundle_stretches_its_stride_first() -> None:
    """Its cost lies in the windows, so fewer windows come before fewer frames."""
    found = steps(BASE, (1, 2), (1, 2), "clip")
    assert [(one.geometry.spread, one.geometry.stride) for one in found[:3]] == [(1, 1), (1, 2), (2, 2)]


def test_what_the_manifest_does_not_allow_is_not_done() -> None:
    """Without other multiples and strides only cameras can be left out."""
    assert steps(BASE, (1,), (1,), "frame") == (Relief(BASE), *(Relief(BASE, share) for share in SHARES))


def test_low_priority_goes_first_and_somebody_stays() -> None:
    """Priority decides, then the id; one camera is never left out."""
    cameras = {"a": 5, "b": 0, "c": 0, "d": -1}
    assert left_out(cameras, 0.25) == {"d"}
    assert left_out(cameras, 0.5) == {"d", "b"}
    assert left_out({"a": 0}, 0.75) == frozenset() == left_out({}, 0.75)


def test_a_growing_backlog_raises_the_level_step_by_step() -> None:
    """Records that are old and get older cost one step per period, up to the highest."""
    pressure = Pressure(highest=2)
    levels = [pressure.observe(second, 6 + second / 10) for second in range(int(RISE_SECONDS * 4))]
    assert levels[20] == 0 and levels[31] == 1 and levels[-1] == 2


def test_catching_up_is_no_overload() -> None:
    """A backlog that shrinks changes nothing, however old it is."""
    pressure = Pressure(highest=2)
    assert all(pressure.observe(second, 600 - second) == 0 for second in range(100))


def test_new_partitions_are_watched_from_the_beginning() -> None:
    """The backlog that a partition brings with it is no sign of overload until it was given time to shrink."""
    pressure = Pressure(highest=2)
    for second in range(26):
        pressure.observe(second, 10)
    pressure.restart(26)
    assert all(pressure.observe(second, 60) == 0 for second in range(26, 52))


def test_a_step_is_taken_back_after_a_long_calm() -> None:
    """Only a long time without any backlog lowers the level, one step at a time."""
    pressure = Pressure(highest=3, level=2)
    calm = [pressure.observe(second, 0.1) for second in range(int(2 * FALL_SECONDS) + 2)]
    assert calm[0] == 1 or calm[int(FALL_SECONDS)] == 1
    assert calm[-1] == 0


@pytest.mark.parametrize("age", [0.0, 1.5])
def test_a_worker_that_keeps_up_leaves_nothing_out(age: float) -> None:
    """Latency below the limit changes nothing."""
    pressure = Pressure(highest=3)
    assert all(pressure.observe(second / 4, age) == 0 for second in range(1000))


@pytest.mark.parametrize("ahead", [-7.0, 6.0])
def test_a_clock_that_is_wrong_is_no_overload(ahead: float) -> None:
    """Ages are differences of two machines' clocks. If a worker keeps up, its ages show how far these are apart."""
    pressure = Pressure(highest=3)
    assert all(pressure.observe(second / 4, ahead + second % 3 / 10, idle=True) == 0 for second in range(1000))


@pytest.mark.parametrize("ahead", [-7.0, 6.0])
def test_a_backlog_is_seen_whatever_the_clocks_say(ahead: float) -> None:
    """Once work always waits, growing ages are a backlog, measured from the age at which none waited."""
    pressure = Pressure(highest=3)
    for second in range(60):
        pressure.observe(second, ahead, idle=True)
    levels = [pressure.observe(60 + second, ahead + second / 2) for second in range(60)]
    assert levels[0] == 0 and levels[-1] >= 1


def test_brokers_whose_clocks_differ_keep_nobody_troubled() -> None:
    """Records of two brokers, one two seconds behind: a worker that runs out of work again and again takes back what
    it left out.
    """
    pressure = Pressure(highest=3, level=3)
    for tenth in range(int((3 * FALL_SECONDS + 2 * RISE_SECONDS) * 10)):
        pressure.observe(tenth / 10, 0.05 + 2 * (tenth % 2), idle=True)
    assert pressure.level == 0


def test_a_moment_without_work_is_no_proof_of_keeping_up() -> None:
    """While the poll thread is busy, even a worker that is a minute behind runs out of work."""
    pressure = Pressure(highest=3)
    levels = [pressure.observe(second, 60 + second / 100, idle=second % 10 == 0) for second in range(100)]
    assert levels[-1] >= 2
