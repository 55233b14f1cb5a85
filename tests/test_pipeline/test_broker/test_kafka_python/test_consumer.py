"""Where reading goes on when the library says that it cannot: no broker is needed for that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition, errors
from kafka.structs import OffsetAndMetadata

from pipeline.broker.kafka_python.consumer import _bounds, _go_on
from pipeline.errors import BrokerUnavailable
from pipeline.records.wire import Partition

AT = TopicPartition("frames", 0)


class Log:
    """The part of the library's consumer that is asked: one partition, read to 50, that reaches from 20 on."""

    def __init__(self, end: int) -> None:
        self.end, self.sought = end, dict[TopicPartition, int]()
        self._subscription = SimpleNamespace(assignment={AT: SimpleNamespace(position=OffsetAndMetadata(50, "", 3))})

    def beginning_offsets(self, asked: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """Where each log begins."""
        return dict.fromkeys(asked, 20)

    def end_offsets(self, asked: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """Where each log ends."""
        return dict.fromkeys(asked, self.end)

    def seek(self, at: TopicPartition, offset: int) -> None:
        """Note where reading goes on."""
        self.sought[at] = offset


def cut(offset: int | None, at: TopicPartition = AT) -> errors.LogTruncationError:
    """The log is another one from this offset on; None: the broker does not know from where."""
    return errors.LogTruncationError({at: None if offset is None else OffsetAndMetadata(offset, "", 4)})


@pytest.mark.parametrize(
    ("error", "end", "due", "found"),
    [
        pytest.param(errors.OffsetOutOfRangeError({AT: 5}), 90, 5, 20, id="expired"),
        pytest.param(errors.OffsetOutOfRangeError({AT: 50}), 30, 50, 30, id="lost its end"),
        pytest.param(cut(40), 45, 50, 40, id="lost its end, and has other records in its place"),
        pytest.param(cut(40), 90, 50, 40, id="grew beyond where it was read to"),
        pytest.param(cut(5), 90, 50, 20, id="lost its end and expired"),
        pytest.param(cut(None), 30, 50, 30, id="nobody knows where, it is shorter"),
        pytest.param(cut(None), 90, 50, 50, id="nobody knows where"),
    ],
)
def test_reading_goes_on_where_records_are_that_were_not_read(
    error: errors.KafkaError, end: int, due: int, found: int
) -> None:
    """Behind a hole at its end; in a log that lost its end where that is, and never at its beginning."""
    log: Any = Log(end)
    assert _go_on(log, error) == {Partition(*AT): (due, found)}
    assert log.sought == {AT: found}


def test_a_partition_that_was_lost_meanwhile_is_left_alone() -> None:
    """The library says it late: at the next poll, when the partition may be another's."""
    log: Any = Log(30)
    assert _go_on(log, cut(25, TopicPartition("frames", 1))) == {} and not log.sought


def test_a_partition_without_a_leader_is_a_broker_that_is_away() -> None:
    """The library leaves it out of its question and then looks for its answer: no reason to end the process."""

    class Leaderless(Log):
        def end_offsets(self, asked: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
            raise KeyError(AT)

    consumer: Any = Leaderless(90)
    with pytest.raises(BrokerUnavailable, match=r"partition=0.* has no leader"):
        _bounds(consumer, [Partition(*AT)], 1.0)
