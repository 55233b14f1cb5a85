"""What all tests share: one real Apache Kafka for the whole run, started by the first test that asks for it."""

from collections.abc import Iterator

import pytest

from pipeline.local.broker_node import TEST_OVERRIDES, BrokerNode


@pytest.fixture(scope="session")
def broker_node() -> Iterator[BrokerNode]:
    """A running broker, shared by all tests: use topics and groups of your own, and never stop or pause it.

    It fails where it cannot start, and never skips: without a broker nothing that matters is tested.
    """
    with BrokerNode(overrides=TEST_OVERRIDES) as node:
        yield node
