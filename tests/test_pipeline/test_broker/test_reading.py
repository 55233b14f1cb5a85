"""Reading a topic as far as it goes now."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.broker.contract import Broker, TopicSettings
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.reading import newest_by_key, partitions_of, read_to_end
from pipeline.errors import ConfigurationError
from pipeline.records.wire import Message, Partition


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker with one topic of three partitions."""
    broker = InProcessBroker()
    broker.ensure_topics([TopicSettings("things", 3)], 5)
    yield broker
    broker.close()


def send(broker: Broker, *pairs: tuple[str, str | None]) -> None:
    """Send keys and values."""
    producer = broker.producer()
    for key, value in pairs:
        producer.send("things", Message(key.encode(), None if value is None else value.encode()))
    producer.flush(5)
    producer.close()


def test_partitions_are_counted() -> None:
    """Every partition of a topic is named; a topic that is missing is an error that says what to do."""
    broker = InProcessBroker()
    broker.ensure_topics([TopicSettings("things", 3)], 5)

    assert partitions_of(broker, "things") == [Partition("things", number) for number in range(3)]
    with pytest.raises(ConfigurationError, match="no topic nothing; create it with `actionwire topics`"):
        partitions_of(broker, "nothing")


def test_reading_stops_at_the_end(broker: Broker) -> None:
    """All records that are there come, over all partitions; an empty topic ends at once."""
    assert list(read_to_end(broker.reader(partitions_of(broker, "things")), 5)) == []

    send(broker, *((f"key-{number}", "x") for number in range(50)))

    found = [record.key for record in read_to_end(broker.reader(partitions_of(broker, "things")), 5)]
    assert sorted(found) == sorted(f"key-{number}".encode() for number in range(50))


def test_what_comes_later_stays_for_the_next_read(broker: Broker) -> None:
    """Records behind the ends of the beginning are not read, and the reader stands in front of them.

    offsets   0 1 2 | 3 4
    end             ^  written while the first record is being used
    """
    topic = [Partition("things", 0)]
    producer = broker.producer()
    for _ in range(3):
        producer.send("things", Message(b"a", b"old", partition=0))
    reader = broker.reader(topic)

    found = []
    for record in read_to_end(reader, 5):
        found.append(record.offset)
        for _ in range(2 if len(found) == 1 else 0):
            producer.send("things", Message(b"a", b"new", partition=0))

    assert found == [0, 1, 2]
    assert [record.offset for record in reader.read(1)] == [3, 4]


def test_the_newest_value_of_a_key_counts(broker: Broker) -> None:
    """As compaction would leave it: replaced values and removed keys are gone."""
    send(broker, ("a", "1"), ("b", "1"), ("c", "1"), ("a", "2"), ("b", None))

    found = newest_by_key(broker, partitions_of(broker, "things"), 5)

    assert {record.key: record.value for record in found} == {b"a": b"2", b"c": b"1"}
