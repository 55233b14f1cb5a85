import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.outbox import Outbox
from pipeline.testing import frame


def ticks(outbox: Outbox) -> list[tuple[str, int]]:
    """Everything that may be sent now."""
    found = []
    while taken := outbox.take():
        found.append((taken.camera, taken.tick))
    return found


def test_frames_leave_in_order_and_cameras_take_turns() -> None:
    """Two cameras with three frames each alternate, each in its own order."""
    outbox = Outbox(8)
    for camera in ("a", "b"):
        for tick in range(3):
            outbox.put(frame(camera, tick))

    assert ticks(outbox) == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]


def test_a_full_share_drops_its_oldest_frame() -> None:
    """While nothing is taken, the newest frames stay; another camera's share is untouched.

    put    0 1 2 3 4 5        capacity 4
    kept       2 3 4 5
    """
    outbox = Outbox(4)
    outbox.put(frame("b", 7))

    assert [outbox.put(frame("a", tick)) for tick in range(6)] == [0, 0, 0, 0, 1, 1]
    assert outbox.waiting("a") == 4
    assert ticks(outbox) == [("b", 7), ("a", 2), ("a", 3)]


def test_a_share_that_changes_while_running_changes_what_is_in_flight_too() -> None:
    """Settings that are edited apply as if they had been there from the start."""
    outbox = Outbox(4)
    outbox.capacity = 12
    for tick in range(12):
        outbox.put(frame("a", tick))

    assert len(ticks(outbox)) == 6


def test_at_most_half_of_a_share_is_in_flight() -> None:
    """What was handed over cannot be dropped, so no more is handed over until some of it has settled."""
    outbox = Outbox(4)
    for tick in range(4):
        outbox.put(frame("a", tick))

    assert ticks(outbox) == [("a", 0), ("a", 1)]
    assert outbox.put(frame("a", 4)) == 1
    outbox.settle("a")
    assert ticks(outbox) == [("a", 3)]
    assert outbox.waiting("a") == 3


@pytest.mark.parametrize("capacity", [0, 1, 2])
def test_a_tiny_outbox_still_moves(capacity: int) -> None:
    """Whatever the setting, a frame can be taken and another can wait."""
    outbox = Outbox(capacity)
    outbox.put(frame("a", 0))
    outbox.put(frame("a", 1))

    assert ticks(outbox) == [("a", 0)]
    outbox.settle("a")
    assert ticks(outbox) == [("a", 1)]


@given(
    st.integers(2, 9),
    st.lists(st.tuples(st.sampled_from(["put", "take", "settle"]), st.sampled_from("ab")), max_size=120),
)
def test_nothing_is_lost_but_what_was_counted(capacity: int, steps: list[tuple[str, str]]) -> None:
    """Whatever the order of steps: each camera's frames leave in rising order, none twice, shares stay within their
    bounds, and every frame was sent, is waiting, or was counted as dropped."""
    outbox = Outbox(capacity)
    put = {"a": 0, "b": 0}
    dropped = {"a": 0, "b": 0}
    sent: dict[str, list[int]] = {"a": [], "b": []}
    flying = {"a": 0, "b": 0}
    for step, camera in steps:
        if step == "put":
            dropped[camera] += outbox.put(frame(camera, put[camera]))
            put[camera] += 1
        elif step == "take" and (taken := outbox.take()):
            sent[taken.camera].append(taken.tick)
            flying[taken.camera] += 1
        elif step == "settle" and flying[camera]:
            outbox.settle(camera)
            flying[camera] -= 1
        for name in "ab":
            assert sent[name] == sorted(set(sent[name]))
            assert outbox.waiting(name) <= capacity
            assert flying[name] <= max(1, capacity // 2)
            assert len(sent[name]) - flying[name] + outbox.waiting(name) + dropped[name] == put[name]
