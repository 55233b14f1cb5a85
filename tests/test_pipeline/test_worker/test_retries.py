import pytest

from pipeline.records.wire import Partition
from pipeline.worker.assignment import Retries

P0, P1 = Partition("frames", 0), Partition("frames", 1)


def test_what_is_not_there_is_asked_for_ever_more_seldom() -> None:
    """Each pause is twice the one before, up to the longest; every partition waits for itself.

    second   0    0.5   1.5       3.5     5.5
    P0       x    x     x         x       x
    P1            new
    """
    retries = Retries(0.5, 2.0)
    assert retries.due([P0], 0.0) == {P0} and retries.pause([P0]) == 0.0
    for at, again in [(0.0, 0.5), (0.5, 1.5), (1.5, 3.5), (3.5, 5.5)]:
        retries.missing([P0], at)
        assert retries.due([P0, P1], again - 0.1) == {P1} and retries.due([P0, P1], again) == {P0, P1}
    assert retries.pause([P0, P1]) == 2.0


@pytest.mark.parametrize(("pause", "waited"), [(0.0, 0.5), (1.5, 1.5), (9.0, 2.0)])
def test_a_broker_that_does_not_answer_is_asked_again_soon(pause: float, waited: float) -> None:
    """Pauses do not grow by themselves: it answers everybody at once when it is back."""
    retries = Retries(0.5, 2.0)
    for now in (0.0, 10.0):
        retries.failed([P0], now, pause)
        assert retries.pause([P0]) == waited and retries.due([P0], now + waited) == {P0}


def test_what_failed_together_is_tried_in_halves() -> None:
    """Nobody says for which partition the broker does not answer; those that work again are tried ever more together.

    tried    0 1 2 3 | 0 1 | 0 | 1, 2 3, ...
             fails     fails works
    """
    retries, wanted = Retries(0.5, 2.0), {Partition("frames", number) for number in range(4)}
    now, sizes = 0.0, []
    for works in (False, False, True, True):
        tried = retries.next(wanted, now)
        sizes.append(len(tried))
        if works:
            for one in tried:
                retries.restored(one)
            wanted -= tried
        else:
            retries.failed(tried, now, 0.0)
            assert retries.next(wanted, now + 0.4) == set()
            now += 0.5
    assert sizes == [4, 2, 1, 2]


def test_what_was_never_tried_does_not_wait_for_what_failed() -> None:
    """A partition that was gained a moment ago is tried at once, by itself."""
    retries = Retries(0.5, 2.0)
    retries.failed([P0], 0.0, 2.0)
    assert retries.next([P0, P1], 0.1) == {P1}


def test_what_was_restored_or_lost_begins_anew() -> None:
    """A partition that comes back is tried at once."""
    retries = Retries(0.5, 2.0)
    retries.missing([P0, P1], 0.0)
    retries.forget([P0])
    assert retries.due([P0, P1], 0.0) == {P0} and retries.pause([P0]) == 0.0
