"""`actionwire watch` and `actionwire status` on a real cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.broker import connect
from pipeline.broker.topics import apply_topics
from pipeline.cli import app
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.local.broker_node import BrokerNode
from pipeline.records.cameras import CameraStatus, encode_status
from pipeline.records.events import encode_event
from pipeline.testing import sample_event

pytestmark = pytest.mark.kafka

STARTED, ENDED = sample_event("started"), sample_event("ended")
STATUS = CameraStatus(
    "front-door", "online", 1_790_000_000_000, None, 12.5, 320, 240, "h264", "rtcp", 0.01, 0, "host-1", None, None
)


@pytest.fixture
def run(broker_node: BrokerNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command on a cluster where two events were committed, one was aborted, and a camera is online."""
    namespace = f"commands-{os.getpid()}-{tmp_path.name[-12:].replace('_', '-')}"
    settings = Settings.model_validate(
        {"kafka": {"bootstrap": broker_node.bootstrap}, "topics": {"namespace": namespace, "partitions": 4}}
    )
    broker = connect(settings.kafka)
    apply_topics(broker, settings)
    transactions = broker.transactions(namespace, 20)
    for event, commit in ((STARTED, True), (replace(ENDED, sequence=9), False), (ENDED, True)):
        transactions.begin()
        transactions.send(settings.topics.name("events"), encode_event(event, "/test"))
        transactions.offsets(20)
        transactions.commit() if commit else transactions.abort()
    transactions.close()
    producer = broker.producer()
    producer.send(settings.topics.name("cameras"), encode_status(STATUS))
    producer.flush(10)
    producer.close()
    broker.close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTIONWIRE_TOPICS__NAMESPACE", namespace)

    def run(*arguments: str, columns: int = 200) -> str:
        found = CliRunner().invoke(
            app,
            [*arguments, "--bootstrap", broker_node.bootstrap],
            env={"COLUMNS": str(columns)},
            catch_exceptions=False,
        )
        assert found.exit_code == 0, found.output
        return found.stdout

    return run


def test_watch_shows_committed_events_only(run: Callable[..., str]) -> None:
    """Both messages of the event come, the aborted one does not; a filter that fits nothing shows nothing."""
    lines = run("watch", "--begin", "--until-end", "--json").splitlines()

    assert sorted(json.loads(line)["sequence"] for line in lines) == [0, 1]
    assert "front-door" in run("watch", "--begin", "--until-end", "--label", "a person falls")
    assert run("watch", "--begin", "--until-end", "--camera", "yard-*") == ""
    assert len(run("watch", "--begin", "--until-end", columns=40).splitlines()) == 2  # or grep would find halves


def test_topics_are_shown_as_they_are(run: Callable[..., str]) -> None:
    """The check prints the partition counts of the cluster, not those that the settings ask for (64)."""
    counts = json.loads(run("topics", "--check", "--json"))["topics"]

    assert {count for name, count in counts.items() if name.endswith((".frames", ".events", ".state"))} == {4}


def test_topics_that_differ_are_named(run: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The check fails and says which setting of which topic; a listing says how many copies protect a topic."""
    assert run("topics", "--check").count("one copy") == 7

    monkeypatch.setenv("ACTIONWIRE_TOPICS__FRAMES_REPLICATION", "3")
    monkeypatch.setenv("ACTIONWIRE_TOPICS__EVENTS_RETENTION_DAYS", "8")
    different = (
        r"frames has a replication of 1, not 3: .*; .*frames: min.insync.replicas is 1, not 2; .*events: retention"
    )
    with pytest.raises(ConfigurationError, match=different):
        run("topics", "--check")


def test_status_answers_about_a_cluster(run: Callable[..., str]) -> None:
    """Cameras, lag and labels of a cluster on which no worker ever ran."""
    found = json.loads(run("status", "--json"))

    assert [(camera["camera"], camera["condition"]) for camera in found["cameras"]] == [("front-door", "online")]
    assert found["lag"]["records"] == 0
    assert found["labels"] == {"version": -1, "labels": []}
    assert "front-door" in run("status")
