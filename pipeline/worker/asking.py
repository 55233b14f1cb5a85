"""What the poll thread asks of the log, where a partition may have no leader: such a partition is not the broker.

A partition without a leader answers nobody; asked together with others it takes their answers with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress

from pipeline.broker.contract import GroupConsumer
from pipeline.errors import TransientError
from pipeline.records.wire import Partition

_ONE_SECONDS = 0.5
"""What a partition by itself may take."""


def ends(
    consumer: GroupConsumer, partitions: Collection[Partition], seconds: float, monotonic: Callable[[], float]
) -> dict[Partition, int]:
    """End offset of each of these partitions that answers: of all at once, else one by one, in `seconds` each time."""
    with suppress(TransientError):
        return {one: end for one, (_, end) in consumer.bounds(partitions, seconds).items()}
    found: dict[Partition, int] = {}
    deadline = monotonic() + seconds
    for one in partitions if len(partitions) > 1 else ():
        if (left := deadline - monotonic()) <= 0:
            break
        with suppress(TransientError):
            found[one] = consumer.bounds([one], min(left, _ONE_SECONDS))[one][1]
    return found


def first_that_answers(consumer: GroupConsumer, partitions: Collection[Partition], seconds: float) -> Partition | None:
    """Ask them one by one, `seconds` in all; None: there are none. Raises TransientError where nobody answers."""
    failure: TransientError | None = None
    for one in partitions:
        try:
            consumer.bounds([one], seconds / len(partitions))
            return one
        except TransientError as error:
            failure = error
    if failure is not None:
        raise failure
    return None
