"""Reading a topic up to its present end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

from pipeline.broker.contract import Broker, Reader
from pipeline.errors import BrokerTimeout, ConfigurationError
from pipeline.records.wire import Partition, Record

SILENCE_SECONDS = 10.0
"""How long a broker may send nothing while there is more to read, unless the caller says otherwise."""

_READ_SECONDS = 0.2


def partitions_of(broker: Broker, topic: str, seconds: float = 10.0) -> list[Partition]:
    """All partitions of a topic. Raises ConfigurationError where it does not exist, and as the broker does."""
    count = broker.partition_counts([topic], seconds).get(topic)
    if count is None:
        raise ConfigurationError(
            f"there is no topic {topic}; create it with `actionwire topics`, or look for its namespace"
        )
    return [Partition(topic, number) for number in range(count)]


def read_to_end(reader: Reader, seconds: float | None = None) -> Iterator[Record]:
    """Records up to the ends that the partitions have when this begins. Afterwards the reader stands at those ends.

    seconds: how long the reader may wait without getting any further, as when the broker dies; `SILENCE_SECONDS` by
    default. What the caller does between two records does not count. Raises BrokerTimeout then, and whatever the broker
    raises.
    """
    seconds = SILENCE_SECONDS if seconds is None else seconds
    ends = {partition: end for partition, (_, end) in reader.bounds(seconds).items()}
    passed: set[Partition] = set()
    positions, waited = reader.positions(), 0.0
    while left := sum(max(0, end - positions[partition]) for partition, end in ends.items()):
        if waited > seconds:
            topics = ", ".join(sorted({partition.topic for partition in ends}))
            raise BrokerTimeout(
                f"{topics}: the broker sent nothing for {seconds:g} s, {left} offsets before the end; "
                "see that it runs, then try again"
            )
        before, began = positions, time.monotonic()
        records = reader.read(_READ_SECONDS)
        positions = reader.positions()
        waited = 0.0 if positions != before else waited + time.monotonic() - began
        for record in records:
            if record.offset < ends[record.source]:
                yield record
            else:
                passed.add(record.source)
    for partition in passed:
        reader.seek(partition, ends[partition])


def read_all(broker: Broker, partitions: Sequence[Partition], seconds: float | None = None) -> Iterator[Record]:
    """Every record of these partitions, up to their present ends. Raises as `read_to_end` does."""
    with closing(broker.reader(partitions)) as reader:
        yield from read_to_end(reader, seconds)


def newest_by_key(broker: Broker, partitions: Sequence[Partition], seconds: float) -> list[Record]:
    """The newest record of every key, as compaction would leave them; removed keys are left out."""
    return _newest(read_all(broker, partitions, seconds))


def _newest(records: Iterable[Record]) -> list[Record]:
    newest: dict[bytes | None, Record] = {}
    for record in records:
        newest.pop(record.key, None)
        if record.value:
            newest[record.key] = record
    return list(newest.values())
