"""Reading a topic as far as it goes now, where nobody follows it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from pipeline.broker.contract import Broker, Reader
from pipeline.errors import BrokerTimeout, ConfigurationError
from pipeline.records.wire import Partition, Record


def partitions_of(broker: Broker, topic: str, seconds: float = 10.0) -> list[Partition]:
    """All partitions of a topic. Raises ConfigurationError where it does not exist, and as the broker does."""
    count = broker.partition_counts([topic], seconds).get(topic)
    if count is None:
        raise ConfigurationError(
            f"there is no topic {topic}; create it with `actionwire topics`, or look for its namespace"
        )
    return [Partition(topic, number) for number in range(count)]


def read_to_end(reader: Reader, seconds: float) -> Iterator[Record]:
    """Records up to the ends that the partitions have now. Raises BrokerTimeout after `seconds`."""
    deadline = time.monotonic() + seconds
    ends = {partition: end for partition, (_, end) in reader.bounds(seconds).items()}
    while any(reader.positions()[partition] < end for partition, end in ends.items()):
        if time.monotonic() > deadline:
            topics = ", ".join(sorted({partition.topic for partition in ends}))
            raise BrokerTimeout(f"{topics}: not read to the end within {seconds:g} s; try again")
        yield from reader.read(0.2)


def newest_by_key(broker: Broker, partitions: Sequence[Partition], seconds: float) -> list[Record]:
    """The newest record of every key, as compaction would leave them; removed keys are left out."""
    reader = broker.reader(partitions)
    try:
        return _newest(read_to_end(reader, seconds))
    finally:
        reader.close()


def _newest(records: Iterable[Record]) -> list[Record]:
    newest: dict[bytes | None, Record] = {}
    for record in records:
        newest.pop(record.key, None)
        if record.value:
            newest[record.key] = record
    return list(newest.values())
