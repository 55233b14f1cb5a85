"""A bundle, and a client of the broker that belongs to a test's `settings`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.testing import tiny_bundle
from pipeline.broker import connect
from pipeline.broker.contract import Broker
from pipeline.broker.topics import apply_topics
from pipeline.config.settings import Settings


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that knows colours."""
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny", frames=4)


@pytest.fixture
def broker(settings: Settings) -> Iterator[Broker]:
    """A client of the shared broker, with the topics of the deployment."""
    made = connect(settings.kafka)
    apply_topics(made, settings)
    yield made
    made.close()
