"""The start of a worker: what must be in order before it joins the group."""

import os
import socket
import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from engines.errors import BackendUnavailable
from engines.testing import tiny_bundle
from pipeline.broker import connect
from pipeline.broker.topics import apply_topics
from pipeline.cli import exit_code
from pipeline.config.http import HttpSettings
from pipeline.config.kafka import KafkaSettings
from pipeline.config.settings import Settings
from pipeline.config.worker import WorkerSettings
from pipeline.errors import ConfigurationError
from pipeline.health import HealthServer
from pipeline.worker.process import fresh_slot, run_worker


def test_a_bundle_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    """A person must mend it: the error names the setting, the bundle and the reason. Another attempt cannot help."""
    settings = Settings(
        kafka=KafkaSettings(bootstrap="in-process"),
        worker=WorkerSettings(bundle=str(tmp_path)),
        http=HttpSettings(worker_port=None),
    )
    broker = connect(settings.kafka)
    apply_topics(broker, settings)

    with pytest.raises(ConfigurationError, match=rf"the bundle {tmp_path} \(worker\.bundle\).*no bundle .*give a path"):
        run_worker(settings, broker, stop=threading.Event())
    broker.close()


def test_tensorrt_without_a_gpu_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a person can mend it, so the exit code is 2; the line says what is missing and the remedy."""

    def no_gpu(index: int) -> None:
        raise BackendUnavailable("no NVIDIA driver is on this machine; install one, or let the backend be openvino")

    monkeypatch.setattr("engines.backends.tensorrt.load_library", lambda: None)
    monkeypatch.setattr("engines.backends.tensorrt.open_cuda", no_gpu)
    settings = Settings(
        kafka=KafkaSettings(bootstrap="in-process"),
        worker=WorkerSettings(bundle=str(tiny_bundle(tmp_path / "tiny")), backend="tensorrt"),
        http=HttpSettings(worker_port=None),
    )
    broker = connect(settings.kafka)
    apply_topics(broker, settings)
    with pytest.raises(ConfigurationError) as refused:
        run_worker(settings, broker, stop=threading.Event())
    broker.close()
    assert exit_code(refused.value) == 2 and "\n" not in str(refused.value)
    assert "cannot be loaded: no NVIDIA driver is on this machine; install one" in str(refused.value)


def test_a_port_that_is_taken_is_said_before_the_bundle_is_loaded(tmp_path: Path) -> None:
    """A second worker on a machine fails at once, with the command that gives it a port of its own."""
    with HealthServer("127.0.0.1", 0, CollectorRegistry(), lambda: None, lambda: None) as first:
        settings = Settings(
            kafka=KafkaSettings(bootstrap="in-process"),
            worker=WorkerSettings(bundle=str(tmp_path)),
            http=HttpSettings(worker_port=first.port),
        )
        broker = connect(settings.kafka)
        apply_topics(broker, settings)

        words = f"another process.*ACTIONWIRE_HTTP__WORKER_PORT={first.port + 2} actionwire worker.*Prometheus"
        with pytest.raises(ConfigurationError, match=words):
            run_worker(settings, broker, stop=threading.Event())
        broker.close()


def test_a_worker_does_not_go_on_without_new_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error ends the thread that follows the labels. The process ends with it and is started again."""
    settings = Settings(
        kafka=KafkaSettings(bootstrap="in-process"),
        worker=WorkerSettings(bundle=str(tiny_bundle(tmp_path / "tiny"))),
        http=HttpSettings(worker_port=None),
    )
    broker = connect(settings.kafka)
    apply_topics(broker, settings)

    def forgetful(*_: object, **__: object) -> None:
        raise MemoryError("no room for embeddings")

    monkeypatch.setattr("pipeline.worker.process.follow", forgetful)

    with pytest.raises(MemoryError, match="no room"):
        run_worker(settings, broker, stop=threading.Event())
    broker.close()


def test_two_workers_are_never_called_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two containers on one host network have its name and the same process number; by one name they would end each
    other for ever.
    """
    monkeypatch.setattr(socket, "gethostname", lambda: "camhost")
    monkeypatch.setattr(os, "getpid", lambda: 1)

    names = {fresh_slot() for _ in range(10)}

    assert len(names) == 10 and all(name.startswith("camhost-1-") for name in names)
