"""How long a worker takes to its first answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.bundle.files import load
from engines.testing import tiny_bundle
from pipeline.bench.cold_start import PARTS, cold_start
from pipeline.bench.worker_rate import preload
from pipeline.broker import connect
from pipeline.broker.topics import apply_topics
from pipeline.config.settings import Settings
from pipeline.local.broker_node import BrokerNode


@pytest.mark.kafka
def test_the_parts_of_a_start_add_up(tmp_path: Path, broker_node: BrokerNode) -> None:
    """From the command to the first window that is scored."""
    bundle = tiny_bundle(tmp_path / "tiny", frames=4)
    worker = {"bundle": str(bundle), "backend": "onnxruntime", "threads": 1, "start": "begin", "overload": "queue"}
    document = {
        "kafka": {"bootstrap": broker_node.bootstrap},
        "topics": {"partitions": 2, "namespace": "cold-start"},
        "labels": ["cyan"],
        "worker": worker,
    }
    settings = Settings.model_validate(document)
    broker = connect(settings.kafka)
    apply_topics(broker, settings)
    preload(broker, settings, load(bundle).golden().images, 2, 8)
    broker.close()
    found = cold_start(document)
    assert [*found] == ["total", *PARTS, "first_window"] and min(found.values()) > 0
    assert found["total"] == pytest.approx(sum(found.values()) - found["total"])
