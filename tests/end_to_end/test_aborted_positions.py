"""Positions of an aborted transaction stay uncommitted, whatever its producer does next."""

import os
import time

import pytest
from kafka.structs import ConsumerGroupMetadata

from pipeline.broker import connect
from pipeline.broker.contract import GroupToken, Position, TopicSettings
from pipeline.config.kafka import KafkaSettings
from pipeline.errors import TransactionAborted
from pipeline.local.broker_node import BrokerNode
from pipeline.records.wire import Message, Partition

pytestmark = pytest.mark.kafka


def test_refused_positions_are_not_committed_with_the_next_transaction(broker_node: BrokerNode) -> None:
    """A commit under a stale membership is refused and aborted; the next one moves only the positions it names.

    The library keeps the refused positions and would send them again, after the events they belonged to were dropped.
    """
    name = f"aborted-{os.getpid()}"
    broker = connect(KafkaSettings(bootstrap=broker_node.bootstrap))
    broker.ensure_topics([TopicSettings(name, 2)], 20)
    consumer = broker.group_consumer(name, name)
    deadline = time.monotonic() + 30
    while not (polled := consumer.poll(0.5, 10)).assigned:
        assert time.monotonic() < deadline
    token = polled.token
    assert token is not None and isinstance(token.opaque, ConsumerGroupMetadata)
    stale = GroupToken(token.opaque._replace(generation_id=token.opaque.generation_id + 7))
    first, second = Partition(name, 0), Partition(name, 1)

    transactions = broker.transactions(name, 10)
    transactions.begin()
    transactions.send(name, Message(b"k", b"dropped", (), 0))
    with pytest.raises(TransactionAborted):
        transactions.commit_positions({first: Position(47)}, name, stale)
    transactions.abort()
    transactions.begin()
    transactions.commit_positions({second: Position(5)}, name, token)
    transactions.commit()

    assert consumer.committed([first, second], 10) == {first: None, second: Position(5)}
    transactions.close()
    consumer.close()
    broker.close()
