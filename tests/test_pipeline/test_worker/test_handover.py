import threading
from concurrent.futures import Future

from pipeline.analysis.camera_streams import Decoded
from pipeline.analysis.partition import Restored
from pipeline.analysis.rewind import NO_STATE, Committed
from pipeline.broker.contract import GroupToken
from pipeline.records.frames import LabelsMarker
from pipeline.records.wire import Partition
from pipeline.testing import ManualClock
from pipeline.worker.handover import Mailbox, Work

P0, P1 = Partition("frames", 0), Partition("frames", 1)


def work(offset: int, epoch: int = 1) -> Work:
    """A record that is decoded already."""
    done: Future[Decoded] = Future()
    done.set_result(Decoded(offset, LabelsMarker(offset)))
    return Work(epoch, done)


def restored(partition: Partition) -> Restored:
    """A partition that starts at its beginning."""
    return Restored(partition, Committed(0, 0, NO_STATE, -1))


def mailbox(size: int = 2, limit: int = 4) -> tuple[Mailbox, ManualClock]:
    """A mailbox whose time stands still."""
    clock = ManualClock()
    return Mailbox(size, 1.0, limit, clock.monotonic), clock


def test_assignments_come_before_work() -> None:
    """The inference thread opens a partition before it sees the first record of it."""
    box, clock = mailbox()
    box.assign(restored(P0), 1)
    box.add(P0, [work(0), work(1)])
    assert box.next(clock.seconds) == [(restored(P0), 1)]
    batch = box.next(clock.seconds)
    assert isinstance(batch, dict) and list(batch) == [P0] and len(batch[P0]) == 2


def test_work_of_an_older_assignment_is_dropped() -> None:
    """Assigning a partition again, or losing it, throws away what was waiting of it and nothing else."""
    box, clock = mailbox()
    box.add(P0, [work(0)])
    box.add(P1, [work(5), work(6)])
    box.assign(restored(P0), 2)
    assert box.next(clock.seconds) == [(restored(P0), 2)]
    batch = box.next(clock.seconds)
    assert isinstance(batch, dict) and list(batch) == [P1]
    box.assign(restored(P0), 3)
    box.add(P0, [work(0, 3)])
    box.revoke([P0])
    assert box.next(clock.seconds) is None


def test_nothing_that_was_restored_before_a_request_is_opened_after_it() -> None:
    """What waits is forgotten, and what the poll thread is about to announce is refused until it has seen the request.

    poll         assign P0 |                assign P1 | take | assign P0
    inference              | request -> P0            |      |           next -> P0
    """
    box, clock = mailbox()
    assert box.assign(restored(P0), 3)
    box.add(P0, [work(0, 3), work(1, 3)])
    assert box.request_reassign() == {P0: 3} and box.next(clock.seconds) is None
    assert not box.assign(restored(P1), 1) and box.next(clock.seconds) is None
    assert box.take_reassign() and box.assign(restored(P0), 5)
    assert box.next(clock.seconds) == [(restored(P0), 5)] and box.request_reassign() == {}


def test_a_full_mailbox_says_so() -> None:
    """The poll thread is told to pause at the limit, and may go on once work was taken."""
    box, clock = mailbox(size=2, limit=2)
    assert not box.full
    box.add(P0, [work(0), work(1)])
    assert box.full
    box.next(clock.seconds)
    assert not box.full


def test_requests_and_memberships_travel_back_and_forth() -> None:
    """A request to assign again is seen once; the newest membership is the one to commit with."""
    box, _ = mailbox()
    assert not box.take_reassign() and not box.take_leave() and box.membership(0) is None
    box.request_reassign()
    assert box.take_reassign() and not box.take_reassign()
    box.request_leave()
    assert box.take_leave() and not box.take_leave()
    token = GroupToken("member")
    box.publish(token)
    assert box.membership(0) is token


def test_a_stale_membership_is_waited_out() -> None:
    """During a rebalance a commit waits for the next poll's membership, but not for ever, and not once all is over.

    published  stale          fresh
    membership  |-- waits -----|
    """
    box, _ = mailbox()
    stale, fresh = GroupToken("before", lambda: False), GroupToken("after")
    box.publish(stale)
    assert box.membership(0.01) is stale
    found: list[GroupToken | None] = []
    waiting = threading.Thread(target=lambda: found.append(box.membership(60)))
    waiting.start()
    box.publish(stale)
    waiting.join(0.05)
    assert waiting.is_alive()
    box.publish(fresh)
    waiting.join(10)
    assert found == [fresh]
    box.publish(stale)
    box.stop()
    assert box.membership(60) is stale


def test_stopping_wakes_whoever_waits() -> None:
    """The inference thread does not wait for its deadline once nothing more will come."""
    box, clock = mailbox()
    waited = threading.Thread(target=box.next, args=(clock.seconds + 1000,))
    waited.start()
    box.stop()
    waited.join(10)
    assert not waited.is_alive() and box.stopped
