"""What the broker's client costs, measured on the broker inside one process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.bench import broker_cost
from pipeline.bench.broker_cost import CAMERAS, consume, consume_paced, messages, produce
from pipeline.broker.contract import Broker, TopicSettings
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.reading import read_all
from pipeline.errors import BrokerTimeout
from pipeline.records.frames import decode_stream_record
from pipeline.records.wire import Partition

TOPIC = "frames"


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker with a topic of four partitions."""
    broker = InProcessBroker()
    broker.ensure_topics([TopicSettings(TOPIC, 4)], 5)
    yield broker
    broker.close()


def test_frames_are_those_of_cameras() -> None:
    """Every camera in turn, with pictures of the size that was asked for."""
    frames = [decode_stream_record(one.key, one.value, one.headers) for one in messages(2 * CAMERAS, 300)]
    assert len({one.camera for one in frames}) == CAMERAS  # type: ignore[union-attr]
    assert {len(one.jpeg) for one in frames} == {300}  # type: ignore[union-attr]


def test_all_that_was_published_is_read_by_every_group(broker: Broker) -> None:
    """The first frame opens the connection and is not measured, but it is there."""
    assert produce(broker, TOPIC, messages(600, 100)) > 0
    assert len(list(read_all(broker, [Partition(TOPIC, number) for number in range(4)]))) == 601
    for group in ("a", "b"):
        assert consume(broker, TOPIC, group, 601) > 0


def test_what_is_there_already_is_not_read_at_a_pace(broker: Broker) -> None:
    """A worker that keeps up sees only what comes, here 500 a second."""
    produce(broker, TOPIC, messages(50, 100))
    assert consume_paced(broker, TOPIC, "a", messages(20, 100), rate=500, seconds=0.2) > 0
    assert len(list(read_all(broker, [Partition(TOPIC, number) for number in range(4)]))) > 51


def test_a_broker_that_gives_nothing_is_given_up(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bench ends, with the reason."""
    monkeypatch.setattr(broker_cost, "_SECONDS", 0.05)
    with pytest.raises(BrokerTimeout, match="0 of 5 records"):
        consume(broker, TOPIC, "a", 5)
