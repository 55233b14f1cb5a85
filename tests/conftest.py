"""What all tests share: one real Apache Kafka for the whole run, started by the first test that asks for it."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from pipeline.local.broker_node import TEST_OVERRIDES, BrokerNode

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell lets what it starts in the background ignore Ctrl-C, and children inherit that; some tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# A busy machine is no reason to fail: no test asserts seconds.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How large the run with hostile records is; a tenth of what is run by hand is enough for every day."""
    parser.addoption("--hostile", type=int, default=1000, metavar="N", help="hostile records among 0.3 N valid frames")


@pytest.fixture(scope="session")
def broker_node() -> Iterator[BrokerNode]:
    """A running broker, shared by all tests: use topics and groups of your own, and never stop or pause it.

    It fails where it cannot start, and never skips: without a broker nothing that matters is tested.
    """
    with BrokerNode(overrides=TEST_OVERRIDES) as node:
        yield node
