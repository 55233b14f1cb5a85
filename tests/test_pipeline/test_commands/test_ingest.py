"""`actionwire ingest`: what is said before a camera is read."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from pipeline import logs
from pipeline.commands import ingest as module
from pipeline.errors import ConfigurationError
from pipeline.health import HealthServer


def test_a_port_that_is_taken_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second ingest on one machine is told how it gets a port, and that it needs a share, of its own."""
    monkeypatch.setattr(module, "stop_on_signals", threading.Event)
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    with HealthServer("127.0.0.1", 0, CollectorRegistry(), lambda: None, lambda: None) as first:
        file = tmp_path / "actionwire.yaml"
        file.write_text(f"http: {{ingest_port: {first.port}}}")

        words = f"ACTIONWIRE_HTTP__INGEST_PORT={first.port + 2} actionwire ingest --shard"
        with pytest.raises(ConfigurationError, match=words):
            module.ingest(config=file, bootstrap="in-process")
