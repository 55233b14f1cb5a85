from pipeline.records.wire import Partition
from pipeline.worker.epochs import Epochs

P0, P1 = Partition("frames", 0), Partition("frames", 1)


def test_only_the_epoch_that_is_named_ends() -> None:
    """A thread that closes a partition ends the epoch under which it worked, not one that began since."""
    epochs = Epochs()
    first = epochs.assign([P0, P1])
    newer = epochs.assign([P1])
    epochs.end(first)
    assert epochs.owned() == newer
    epochs.end(first)
    assert epochs.assign([P0])[P0] == first[P0] + 2


def test_an_epoch_ends_with_every_change_of_ownership() -> None:
    """Work of a partition that was lost, or lost and regained, no longer counts."""
    epochs = Epochs()
    first = epochs.assign([P0, P1])
    assert epochs.is_current(P0, first[P0]) and epochs.is_current(P1, first[P1])
    epochs.revoke([P0])
    assert not epochs.is_current(P0, first[P0]) and epochs.is_current(P1, first[P1])
    again = epochs.assign([P0])
    assert not epochs.is_current(P0, first[P0]) and epochs.is_current(P0, again[P0])
    assert epochs.owned() == {P0: again[P0], P1: first[P1]}
    assert not epochs.is_current(P0, again[P0] + 1)
