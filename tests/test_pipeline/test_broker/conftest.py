"""Both implementations of the broker contract, with names that no two tests share."""

import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from pipeline.broker import connect
from pipeline.broker.contract import Broker, Capability, TopicSettings
from pipeline.config.kafka import KafkaSettings
from pipeline.local.broker_node import BrokerNode

_numbers = itertools.count(1)


@pytest.fixture(params=["in-process", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A broker of either kind; a test marked `needs` runs only where its capability is promised."""
    if request.param == "in-process":
        made = connect(KafkaSettings(bootstrap="in-process"))
    else:
        node: BrokerNode = request.getfixturevalue("broker_node")
        made = connect(KafkaSettings(bootstrap=node.bootstrap))
    yield made
    made.close()


@pytest.fixture
def name() -> str:
    """A name of a topic, a group or a transactional id that nobody else uses."""
    return f"test-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def topic(broker: Broker, name: str) -> str:
    """A fresh topic of four partitions."""
    broker.ensure_topics([TopicSettings(name, 4)], 20)
    return name


@pytest.fixture
def kafka(broker_node: BrokerNode) -> Iterator[Callable[..., Broker]]:
    """Brokers made from settings, on the shared node unless they name another."""
    made: list[Broker] = []

    def make(**settings: object) -> Broker:
        made.append(connect(KafkaSettings(**({"bootstrap": broker_node.bootstrap} | settings))))
        return made[-1]

    yield make
    for one in made:
        one.close()


def promises(broker: Broker, capability: Capability) -> bool:
    """True when the broker keeps this promise."""
    return capability in broker.capabilities
