from hypothesis import given
from hypothesis import strategies as st

from pipeline.records.wire import Partition
from pipeline.worker.handover import Batcher

P0, P1, P2 = (Partition("frames", number) for number in range(3))


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
    """Everybody gets a part; what the quiet ones leave goes to the busy one."""
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
