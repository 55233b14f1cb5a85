"""A worker in front of cameras that send in real time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.testing import tiny_bundle
from pipeline.bench.live_cameras import live_cameras
from pipeline.bench.live_worker import latencies, live_worker, processed, restless
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.topics import apply_topics
from pipeline.config.settings import Settings
from pipeline.worker.model import Model


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that knows colours, with windows of four frames."""
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny", frames=4)


@pytest.fixture
def settings(bundle: Path) -> Settings:
    """A deployment of two partitions at four frames a second."""
    worker = {"bundle": str(bundle), "backend": "onnxruntime", "threads": 1, "commit_seconds": 0.1}
    return Settings.model_validate({"topics": {"partitions": 2}, "worker": worker})


@pytest.fixture
def broker(settings: Settings) -> Iterator[InProcessBroker]:
    """A broker with the topics of the deployment."""
    broker = InProcessBroker()
    apply_topics(broker, settings)
    yield broker
    broker.close()


def model_of(settings: Settings, bundle: Path, tmp_path: Path) -> Model:
    """The bundle, loaded."""
    from engines.bundle.files import load

    return Model(load(bundle), settings, cache=tmp_path)


def test_every_frame_after_the_first_windows_ends_one(
    settings: Settings, broker: InProcessBroker, bundle: Path, tmp_path: Path
) -> None:
    """And each camera's events begin and end all the time; another model in between costs none of them.

    frames    x x x x x x x x x x x ...
    windows         w w w w w w w w ...     three less than frames, for each camera
    """
    model, other = (model_of(settings, bundle, tmp_path) for _ in range(2))
    with live_worker(model, settings, broker, (restless("red", 0.5),)) as live:
        with live_cameras(model.bundle.golden().images, settings, broker, 6) as published:
            assert all(0 < latency < 20 for latency in latencies(broker, settings, 2.0))
            swapped = threading.Event()
            swapping = threading.Thread(target=lambda: (live.swap(other), swapped.set()))
            swapping.start()
            pauses = live.pauses(1.0, until=swapped)
            swapping.join()
        assert processed(broker, settings)
        assert len(published.by_camera) == 6 and len(pauses) > 1
        assert live.windows == published.frames - 6 * 3
