import threading
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.camera_streams import Decoded
from pipeline.analysis.partition import Restored
from pipeline.analysis.rewind import NO_STATE, Committed
from pipeline.broker.contract import GroupToken
from pipeline.records.frames import LabelsMarker
from pipeline.records.wire import Partition
from pipeline.testing import ManualClock
from pipeline.worker.handover import Batcher, Handover, Work

P0, P1, P2 = (Partition("frames", number) for number in range(3))


def work(offset: int, epoch: int = 1) -> Work:
    """A record that is decoded already."""
    done: Future[Decoded] = Future()
    done.set_result(Decoded(offset, LabelsMarker(offset)))
    return Work(epoch, done)


def restored(partition: Partition) -> Restored:
    """A partition that starts at its beginning."""
    return Restored(partition, Committed(0, 0, NO_STATE, -1))


def new_handover(size: int = 2, limit: int = 4) -> tuple[Handover, ManualClock]:
    """A hand-over whose time stands still."""
    clock = ManualClock()
    return Handover(size, 1.0, limit, clock.monotonic), clock


def test_assignments_come_before_work() -> None:
    """The inference thread opens a partition before it sees the first record of it; no batch comes until it has."""
    handover, clock = new_handover()
    handover.assign(restored(P0), 1)
    handover.add({P0: [work(0), work(1)]})
    assert handover.needs_rest and handover.next(clock.seconds + 1000) is None
    assert handover.take_restored() == [(restored(P0), 1)] and not handover.needs_rest
    batch = handover.next(clock.seconds)
    assert isinstance(batch, dict) and list(batch) == [P0] and len(batch[P0]) == 2


def test_work_of_an_older_assignment_is_dropped() -> None:
    """If a partition is assigned again or lost, its waiting work is dropped, and no other work."""
    handover, clock = new_handover()
    handover.add({P0: [work(0)]})
    handover.add({P1: [work(5), work(6)]})
    handover.assign(restored(P0), 2)
    assert handover.take_restored() == [(restored(P0), 2)]
    batch = handover.next(clock.seconds)
    assert isinstance(batch, dict) and list(batch) == [P1]
    handover.assign(restored(P0), 3)
    handover.add({P0: [work(0, 3)]})
    handover.revoke([P0])
    assert handover.take_restored() == [] and handover.next(clock.seconds) is None


def test_nothing_that_was_restored_before_a_request_is_opened_after_it() -> None:
    """Waiting partitions are forgotten. Until the poll thread has seen the request, further ones are refused.

    poll         assign P0 |                assign P1 | take | assign P0
    inference              | request -> P0            |      |           opens P0
    """
    handover, clock = new_handover()
    assert handover.assign(restored(P0), 3)
    handover.add({P0: [work(0, 3), work(1, 3)]})
    assert handover.request_reassign() == {P0: 3} and handover.take_restored() == []
    assert not handover.assign(restored(P1), 1) and handover.take_restored() == []
    assert handover.take_reassign() and handover.assign(restored(P0), 5)
    assert handover.take_restored() == [(restored(P0), 5)] and handover.request_reassign() == {}
    assert handover.next(clock.seconds) is None


def test_a_full_handover_says_so() -> None:
    """The poll thread is told to pause at the limit, and may go on once work was taken."""
    handover, clock = new_handover(size=2, limit=2)
    assert not handover.full
    handover.add({P0: [work(0), work(1)]})
    assert handover.full
    handover.next(clock.seconds)
    assert not handover.full


def test_requests_and_memberships_travel_back_and_forth() -> None:
    """A request for a new assignment is seen once; the newest membership is the one to commit with."""
    handover, _ = new_handover()
    assert not handover.take_reassign() and not handover.take_leave() and handover.membership(0) is None
    handover.request_reassign()
    assert handover.take_reassign() and not handover.take_reassign()
    handover.request_leave()
    assert handover.take_leave() and not handover.take_leave()
    token = GroupToken("member")
    handover.publish(token)
    assert handover.membership(0) is token


def test_a_stale_membership_is_waited_out() -> None:
    """During a rebalance a commit waits for the next poll's membership, but not for ever, and not during the stop.

    published  stale          fresh
    membership  |-- waits -----|
    """
    handover, _ = new_handover()
    stale, fresh = GroupToken("before", lambda: False), GroupToken("after")
    handover.publish(stale)
    assert handover.membership(0.01) is stale
    found: list[GroupToken | None] = []
    waiting = threading.Thread(target=lambda: found.append(handover.membership(60)))
    waiting.start()
    handover.publish(stale)
    waiting.join(0.05)
    assert waiting.is_alive()
    handover.publish(fresh)
    waiting.join(10)
    assert found == [fresh]
    handover.publish(stale)
    handover.stop()
    assert handover.membership(60) is stale


@pytest.mark.parametrize("what", ["stop", "interrupt", "request_leave"])
def test_whoever_waits_is_woken(what: str) -> None:
    """The inference thread does not wait for its deadline once nothing more will come, or something comes first."""
    handover, clock = new_handover()
    waited = threading.Thread(target=handover.next, args=(clock.seconds + 1000,))
    waited.start()
    getattr(handover, what)()
    waited.join(10)
    assert not waited.is_alive() and handover.stopped == (what == "stop")


def test_a_full_batch_is_ready_at_once() -> None:
    """Size wins over the deadline."""
    batcher: Batcher[int] = Batcher(size=2, wait_seconds=10)
    assert batcher.ready_in(now=0) is None
    batcher.add(P0, [1], now=0)
    assert batcher.ready_in(now=4) == 6
    batcher.add(P1, [2], now=4)
    assert batcher.ready_in(now=4) == 0


def test_a_lone_frame_is_ready_at_its_deadline() -> None:
    """The oldest work decides, whatever came after it.

    added   x......y
    ready          |   x waited long enough here
    """
    batcher: Batcher[str] = Batcher(size=8, wait_seconds=0.5)
    batcher.add(P0, "x", now=1.0)
    batcher.add(P1, "y", now=1.25)
    assert batcher.ready_in(now=1.25) == 0.25
    assert batcher.ready_in(now=9) == 0


def test_a_flood_does_not_starve_the_others() -> None:
    """Every partition gets its share; the busy one gets the places that the others do not need."""
    batcher: Batcher[str] = Batcher(size=4, wait_seconds=0)
    batcher.add(P0, "abcdef", now=0)
    batcher.add(P1, "g", now=0)
    batcher.add(P2, "h", now=0)
    assert batcher.take() == {P0: ["a", "b"], P1: ["g"], P2: ["h"]}
    assert batcher.take() == {P0: ["c", "d", "e", "f"]}
    assert batcher.take() == {}


def test_more_partitions_than_places_take_turns() -> None:
    """A partition that was served goes behind those that were not."""
    batcher: Batcher[int] = Batcher(size=2, wait_seconds=0)
    for partition in (P0, P1, P2):
        batcher.add(partition, [1, 2], now=0)
    served = [set(batcher.take()) for _ in range(3)]
    assert served[0] | served[1] == {P0, P1, P2}


def test_dropped_work_is_gone() -> None:
    """A partition that was taken away leaves nothing behind."""
    batcher: Batcher[int] = Batcher(size=2, wait_seconds=0)
    batcher.add(P0, [1, 2, 3], now=0)
    batcher.drop(P0)
    assert len(batcher) == 0 and batcher.take() == {}


@given(st.integers(1, 9), st.lists(st.tuples(st.sampled_from([P0, P1, P2]), st.integers(1, 7)), max_size=20))
def test_batches_are_prefixes(size: int, arrivals: list[tuple[Partition, int]]) -> None:
    """Per partition everything comes out once and in order, and every batch but the last is full."""
    batcher: Batcher[int] = Batcher(size, wait_seconds=0)
    sent: dict[Partition, list[int]] = {}
    for partition, count in arrivals:
        queue = sent.setdefault(partition, [])
        work = list(range(len(queue), len(queue) + count))
        queue += work
        batcher.add(partition, work, now=0)
    got: dict[Partition, list[int]] = {}
    while waiting := len(batcher):
        batch = batcher.take()
        assert sum(map(len, batch.values())) == min(size, waiting)
        for partition, work in batch.items():
            got.setdefault(partition, []).extend(work)
    assert got == sent
