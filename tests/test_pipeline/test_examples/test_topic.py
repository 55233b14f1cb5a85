"""Examples on their topic: found by name, also while others come and go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from pipeline.broker.contract import Broker, TopicSettings
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.writing import write_messages
from pipeline.examples.topic import ExampleTopic, remove_examples, write_examples
from pipeline.records.examples import Example, ExamplePicture
from pipeline.records.wire import Message

TOPIC = "a.examples"
ONE, TWO, THREE = (
    Example("fence", 4, (ExamplePicture(0, 1.0, b"first"), ExamplePicture(2, 1.0, name))) for name in (b"1", b"2", b"3")
)


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker inside this process, with the topic."""
    made = InProcessBroker()
    made.ensure_topics([TopicSettings(TOPIC, 1)], 5)
    yield made
    made.close()


def test_examples_are_found_by_name(broker: Broker) -> None:
    """Those that are wanted, whatever else is there; one that is missing is left out."""
    topic = ExampleTopic(broker, TOPIC)
    assert list(topic.find([("fence", ONE.id)])) == []
    write_examples(broker, TOPIC, [ONE, TWO, replace(ONE, label="fall")], 5)
    assert list(topic.find([("fence", TWO.id), ("fence", THREE.id)])) == [TWO]
    write_examples(broker, TOPIC, [THREE], 5)
    assert {one.id for one in topic.find([("fence", one.id) for one in (ONE, THREE)])} == {ONE.id, THREE.id}
    assert topic.names() == {("fence", ONE.id), ("fence", TWO.id), ("fence", THREE.id), ("fall", ONE.id)}


def test_what_was_taken_back_is_not_there_for_anybody(broker: Broker) -> None:
    """For who knew it and for who begins now. It can be enrolled again."""
    topic = ExampleTopic(broker, TOPIC)
    write_examples(broker, TOPIC, [ONE, TWO], 5)
    assert len(list(topic.find([("fence", ONE.id), ("fence", TWO.id)]))) == 2
    remove_examples(broker, TOPIC, [("fence", ONE.id)], 5, 1_000_000)
    for reader in (topic, ExampleTopic(broker, TOPIC)):
        assert list(reader.find([("fence", ONE.id), ("fence", TWO.id)])) == [TWO]
    write_examples(broker, TOPIC, [ONE], 5)
    assert list(topic.find([("fence", ONE.id)])) == [ONE]


def test_records_of_strangers_are_passed_over(broker: Broker) -> None:
    """A key that names nothing, pictures that are not what the key says: no reader stops at them."""
    broken = Message(f"fence/{ONE.id}".encode(), b'{"schema": 1}\n', partition=0)
    write_messages(broker, TOPIC, [Message(b"nonsense", b"x", partition=0), broken], 5)
    write_examples(broker, TOPIC, [TWO], 5)
    assert list(ExampleTopic(broker, TOPIC).find([("fence", ONE.id), ("fence", TWO.id)])) == [TWO]


def test_a_topic_that_was_made_anew_is_read_from_its_beginning(broker: Broker) -> None:
    """What was known of the old one no longer counts."""
    topic = ExampleTopic(broker, TOPIC)
    write_examples(broker, TOPIC, [ONE, TWO], 5)
    assert len(topic.names()) == 2
    broker.delete_topics([TOPIC], 5)
    broker.ensure_topics([TopicSettings(TOPIC, 1)], 5)
    write_examples(broker, TOPIC, [THREE], 5)
    assert topic.names() == {("fence", THREE.id)}
