"""What `KafkaBroker` adds to its clients, on the shared broker."""

import contextlib
import gc
import logging
import threading
import time
from collections.abc import Callable

import pytest
from kafka import errors

from pipeline.broker import connect
from pipeline.broker.contract import Broker, TopicSettings
from pipeline.config.kafka import KafkaSettings
from pipeline.local.broker_node import TEST_OVERRIDES, BrokerNode
from pipeline.records.wire import Partition

pytestmark = pytest.mark.kafka


def test_the_lag_of_a_group_is_known_from_the_first_moment(name: str) -> None:
    """A cluster that nobody has used yet has no place for groups; asking makes one, and waits until it is there."""
    with (
        BrokerNode(overrides=TEST_OVERRIDES) as young,
        contextlib.closing(connect(KafkaSettings(bootstrap=young.bootstrap))) as broker,
    ):
        broker.ensure_topics([TopicSettings(name, 1)], 30)
        assert broker.lag(name, name, 30) == {Partition(name, 0): 0}


def client_threads() -> set[threading.Thread]:
    """Threads of Kafka clients that are running."""
    return {thread for thread in threading.enumerate() if "kafka" in thread.name.lower()}


def test_closing_ends_the_clients_that_nobody_holds(kafka: Callable[..., Broker], name: str) -> None:
    """A client that was dropped without being closed has a thread all the same; closing the broker ends it."""
    before, broker = client_threads(), kafka()
    broker.ensure_topics([TopicSettings(name, 1)], 20)
    broker.producer()
    broker.transactions(name, 20)
    broker.group_consumer(name, name)
    broker.reader([Partition(name, 0)])
    gc.collect()
    assert client_threads() - before

    broker.close()
    deadline = time.monotonic() + 20
    while left := client_threads() - before:
        assert time.monotonic() < deadline, [thread.name for thread in left]
        time.sleep(0.02)


def test_the_library_does_not_warn_of_a_broker_that_is_busy_for_a_moment(
    kafka: Callable[..., Broker], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It would, a few times a minute for as long as a process runs; what else it says of the cluster is kept."""
    broker = kafka()
    broker.ensure_topics([TopicSettings(name, 1)], 20)
    client = broker.reader([Partition(name, 0)])._consumer._client  # type: ignore[attr-defined]
    caplog.clear()
    for node in client.cluster.brokers():
        client._manager.close(node_id=node.node_id)
        client._manager.update_backoff(node.node_id)
    assert client.least_loaded_node() is None
    with contextlib.suppress(errors.KafkaError):
        client._net.run(client.cluster.refresh_metadata)
    logging.getLogger("kafka.cluster").warning("another one")

    assert [record.message for record in caplog.records if record.name == "kafka.cluster"] == ["another one"]
