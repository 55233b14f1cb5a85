"""The labels of a settings file on their way into force."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from pipeline.broker import control_topic
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.topics import apply_topics
from pipeline.config.reading import load
from pipeline.config.settings import Settings
from pipeline.errors import BrokerTimeout, ConfigurationError
from pipeline.labels import in_settings
from pipeline.labels.in_settings import LabelsInSettings

TOPIC = "actionwire.control"


@pytest.fixture
def broker() -> Iterator[InProcessBroker]:
    """A broker with the topics of a deployment."""
    broker = InProcessBroker()
    apply_topics(broker, Settings())
    yield broker
    broker.close()


@pytest.fixture
def say(tmp_path: Path) -> Callable[[str], Settings]:
    """Writes a settings file and reads it."""

    def write(content: str) -> Settings:
        file = tmp_path / "actionwire.yaml"
        file.write_text(content)
        return load(file)

    return write


def texts(broker: InProcessBroker) -> list[str]:
    """The labels of settings that are in force."""
    return [label.text for label in control_topic.read(broker, TOPIC, 5).config]


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that must happen."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def start(broker: InProcessBroker, settings: Settings) -> LabelsInSettings:
    """A process starts with these settings."""
    labels = LabelsInSettings(broker, settings)
    labels.start()
    return labels


def test_a_restart_with_an_old_file_puts_nothing_back(broker: InProcessBroker, say: Callable[[str], Settings]) -> None:
    """Two hosts: the newer set stays through ten restarts of the other, which says that it leaves its own out."""
    old, new = say("labels: [a person falls down]"), say("labels: [a person runs]")
    start(broker, old)
    start(broker, new)

    with structlog.testing.capture_logs() as logs:
        for _ in range(10):
            start(broker, old)

    assert texts(broker) == ["a person runs"]
    assert len(logs) == 10 and "labels apply" in logs[0]["remedy"]


def test_an_absent_section_leaves_and_an_empty_one_empties(
    broker: InProcessBroker, say: Callable[[str], Settings]
) -> None:
    """A file that says nothing of labels is about something else; one that lists none wants none."""
    start(broker, say("labels: [a person runs]"))

    start(broker, say("rate: 4"))
    assert texts(broker) == ["a person runs"]
    start(broker, say("labels: []"))
    assert texts(broker) == []


def test_edits_are_applied_while_it_runs(broker: InProcessBroker, say: Callable[[str], Settings]) -> None:
    """What a file no longer says ceases to be in force, what it says anew is, and what was said before may come back.

    file       falls    falls, runs    runs    (no section)    runs      []    falls
    in force   falls    falls, runs    runs    runs            runs      -     falls
    """
    labels = start(broker, say("labels: [a person falls down]"))

    for content, expected in (
        ("labels: [a person falls down, a person runs]", ["a person falls down", "a person runs"]),
        ("labels: [a person runs]", ["a person runs"]),
        ("rate: 4", ["a person runs"]),
        ("labels: [a person runs]", ["a person runs"]),
        ("labels:", []),
        ("labels: [a person falls down]", ["a person falls down"]),
    ):
        labels.edited(say(content))
        until(lambda expected=expected: texts(broker) == expected)  # type: ignore[misc]
    labels.close()


def test_an_edit_of_something_else_applies_no_labels(broker: InProcessBroker, say: Callable[[str], Settings]) -> None:
    """A camera that is added to an old file does not bring its old labels back."""
    labels = start(broker, say("labels: [a person falls down]"))
    start(broker, say("labels: [a person runs]"))

    labels.edited(say("labels: [a person falls down]\ncameras: {door: {url: door.mp4}}"))
    labels.edited(say("labels: [a person waves]"))
    until(lambda: texts(broker) == ["a person waves"])

    assert labels._waiting is None
    assert control_topic.read(broker, TOPIC, 5).version == 2
    labels.close()


def test_an_edit_waits_for_the_broker(
    broker: InProcessBroker, say: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the broker is away nobody waits; when it is back the newest edit is applied, and only that."""
    labels = start(broker, say("labels: [a person falls down]"))
    away, tried, apply = threading.Event(), list[str](), in_settings.apply_config

    def reluctant(*arguments: object, **options: object) -> object:
        tried.append(arguments[2][0].text)  # type: ignore[index]
        if not away.is_set():
            raise BrokerTimeout("nobody answers")
        return apply(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(in_settings, "apply_config", reluctant)
    monkeypatch.setattr(in_settings, "RETRY_SECONDS", 0.01)
    labels.edited(say("labels: [a person runs]"))
    until(lambda: len(tried) > 1)
    labels.edited(say("labels: [a person waves]"))
    until(lambda: tried[-1] == "a person waves")
    away.set()

    until(lambda: texts(broker) == ["a person waves"])
    assert control_topic.read(broker, TOPIC, 5).version == 1
    labels.close()


def test_two_labels_of_one_id_leave_those_in_force(broker: InProcessBroker, say: Callable[[str], Settings]) -> None:
    """At the start that is refused; an edit is logged, and the next good one counts."""
    twice = "labels: [{text: a person runs, id: x}, {text: a person waves, id: x}]"
    with pytest.raises(ConfigurationError, match="same id 'x'"):
        start(broker, say(twice))
    labels = start(broker, say("labels: [a person falls down]"))

    with structlog.testing.capture_logs() as logs:
        labels.edited(say(twice))
    assert "same id" in logs[0]["reason"] and texts(broker) == ["a person falls down"]

    labels.edited(say("labels: [a person runs]"))
    until(lambda: texts(broker) == ["a person runs"])
    labels.close()


def test_ingest_warns_of_words_that_the_bundle_does_not_know(
    broker: InProcessBroker, say: Callable[[str], Settings]
) -> None:
    """It applies them, since another bundle may know them, and names them loudly; at the start and after an edit."""
    with structlog.testing.capture_logs() as logs:
        labels = LabelsInSettings(broker, say("labels: [a zebra runs, a person runs]"), warn=True)
        labels.start()
        labels.edited(say("labels: [a person climbs a fence]"))
        until(lambda: texts(broker) == ["a person climbs a fence"])
        labels.close()
        until(lambda: labels._thread is None)

    refused = [line["reason"] for line in logs if line["event"] == "a label cannot be watched for"]
    assert len(refused) == 2 and "'zebra'" in refused[0] and "'fence'" in refused[1]


def test_without_the_topics_a_start_says_what_to_do(say: Callable[[str], Settings]) -> None:
    """Labels cannot be in force before the topics are there."""
    with pytest.raises(ConfigurationError, match="actionwire topics"):
        start(InProcessBroker(), say("labels: [a person runs]"))
