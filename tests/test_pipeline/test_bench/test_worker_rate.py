"""The rate of a worker, from what its engine was asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.bundle.files import load
from engines.testing import tiny_bundle
from pipeline.bench import worker_rate as module
from pipeline.bench.live_cameras import cameras_beside
from pipeline.bench.worker_rate import preload, worker_rate
from pipeline.broker import connect
from pipeline.broker.contract import Broker
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.reading import partitions_of, read_all
from pipeline.broker.topics import apply_topics
from pipeline.config.settings import Settings
from pipeline.errors import BrokerTimeout
from pipeline.local.broker_node import BrokerNode
from pipeline.records.labels import Label
from pipeline.worker.model import Model

LABELS = (Label("red", "red"),)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A deployment of two partitions, of a bundle with windows of four frames."""
    bundle = tiny_bundle(tmp_path / "tiny", frames=4)
    worker = {"bundle": str(bundle), "backend": "onnxruntime", "threads": 1, "start": "begin", "overload": "queue"}
    return Settings.model_validate(
        {"topics": {"partitions": 2, "namespace": tmp_path.name.replace("_", "-")}, "worker": worker}
    )


@pytest.fixture
def model(settings: Settings, tmp_path: Path) -> Iterator[Model]:
    """Its bundle, loaded."""
    model = Model(load(Path(settings.worker.bundle)), settings, cache=tmp_path / "texts")
    yield model
    model.close()


@pytest.fixture
def broker(settings: Settings) -> Iterator[Broker]:
    """A broker with the topics of the deployment."""
    broker = InProcessBroker()
    apply_topics(broker, settings)
    yield broker
    broker.close()


def test_a_worker_is_timed_between_calls_of_its_engine(settings: Settings, model: Model, broker: Broker) -> None:
    """Frames that are there already, several workers one after another with one model; each in a group of its own.

    engine   | calls |  | calls |  | calls |       the rest of the time it is idle
    """
    preload(broker, settings, model.bundle.golden().images, 3, 4000)
    for group in ("one", "two"):
        own = settings.model_copy(update={"worker": settings.worker.model_copy(update={"group": group})})
        rate = worker_rate(model, own, broker, LABELS, warm=24, seconds=0.3)
        assert rate.frames_per_second > 0 and rate.frames_per_cpu_second > 0
        assert 0 < rate.idle_share < 1 and 0 < rate.decode_share < 1
        assert rate.commits_per_second >= 0


def test_a_worker_with_too_little_to_do_is_not_timed(
    settings: Settings, model: Model, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rate of frames that were over would say nothing."""
    monkeypatch.setattr(module, "WAIT_SECONDS", 2.0)
    preload(broker, settings, model.bundle.golden().images, 3, 8)
    with pytest.raises(BrokerTimeout, match="give it more frames"):
        worker_rate(model, settings, broker, LABELS, warm=24, seconds=0.2)


@pytest.mark.kafka
def test_cameras_of_another_process_say_what_they_sent(settings: Settings, broker_node: BrokerNode) -> None:
    """Each of its frames is in the topic."""
    real = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"bootstrap": broker_node.bootstrap})})
    broker = connect(real.kafka)
    apply_topics(broker, real)
    topic = partitions_of(broker, real.topics.name("frames"))
    with cameras_beside(Path(real.worker.bundle), real, 5) as published:
        while len({record.key for record in read_all(broker, topic)}) < 5:
            pass
    assert len(published.by_camera) == 5 and published.frames == sum(published.by_camera.values())
    assert len(list(read_all(broker, topic))) == published.frames
    broker.close()
