"""Twenty sentences with words that the bundle which ships does not know, by every road on which a text comes in."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from pipeline.broker import connect, control_topic
from pipeline.broker.contract import Broker
from pipeline.broker.topics import apply_topics
from pipeline.cli import app, exit_code
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.labels.in_settings import LabelsInSettings
from pipeline.local.broker_node import BrokerNode
from pipeline.worker.process import run_worker
from pipeline.worker.worker import Worker

pytestmark = pytest.mark.kafka

SENTENCES = {
    "a dog runs": ["dog"],
    "a zebra runs": ["zebra"],
    "a person climbs a fence": ["fence"],
    "a chimpanzee waves": ["chimpanzee"],
    "two people fight": ["fight"],
    "a person steals a bicycle": ["steals", "bicycle"],
    "a car stops": ["car", "stops"],
    "smoke over the ground": ["smoke"],
    "a person smokes": ["smokes"],
    "somebody breaks a window": ["breaks", "window"],
    "a child falls into the pool": ["child", "into", "pool"],
    "a person runs quickly": ["quickly"],
    "a person falls down!": ["!"],
    "a preson falls down": ["preson"],
    "ein Mensch fällt hin": ["ein", "Mensch", "fällt", "hin"],
    "человек падает": ["человек", "падает"],
    "人が倒れる": ["人が倒れる"],
    "a person waves 👋": ["👋"],
    "3 people talk": ["3"],
    "a person's hand": ["person's"],
}


@pytest.fixture(scope="module")
def deployment(broker_node: BrokerNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, Path]]:
    """Topics of its own on a real cluster, the shipped bundle, and a folder with the settings and a recording."""
    folder = tmp_path_factory.mktemp("words")
    document = {
        "kafka": {"bootstrap": broker_node.bootstrap},
        "topics": {"namespace": folder.name, "partitions": 1},
        "http": {"worker_port": None},
    }
    (folder / "actionwire.yaml").write_text(json.dumps(document))
    (folder / "door.mp4").touch()
    settings = Settings.model_validate(document)
    broker = connect(settings.kafka)
    apply_topics(broker, settings)
    broker.close()
    yield settings, folder


@pytest.fixture(scope="module")
def broker(deployment: tuple[Settings, Path]) -> Iterator[Broker]:
    """The cluster."""
    broker = connect(deployment[0].kafka)
    yield broker
    broker.close()


def arguments(road: str, sentence: str, folder: Path) -> list[str]:
    """The command by which a sentence comes in."""
    file, recording = folder / "labels.yaml", str(folder / "door.mp4")
    file.write_text(json.dumps({"labels": ["a person runs", sentence]}, ensure_ascii=False), "utf-8")
    config = ["--config", str(folder / "actionwire.yaml")]
    return {
        "labels add": ["labels", "add", sentence, *config],
        "labels apply": ["labels", "apply", str(file), *config],
        "labels try": ["labels", "try", sentence, "--camera", "door", *config],
        "replay --label": [
            "replay",
            str(folder / "door.mp4"),
            "--label",
            "a person runs",
            "--label",
            sentence,
            *config,
        ],
        "replay --labels": ["replay", recording, "--labels", str(file), *config],
    }[road]


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("road", ["labels add", "labels apply", "labels try", "replay --label", "replay --labels"])
def test_commands_refuse_unknown_words_by_name(
    deployment: tuple[Settings, Path], broker: Broker, road: str, sentence: str
) -> None:
    """Exit code 2, one line with every unknown word and what to do; nothing is in force or replayed."""
    settings, folder = deployment

    found = CliRunner().invoke(app, arguments(road, sentence, folder))

    assert isinstance(found.exception, ConfigurationError) and exit_code(found.exception) == 2
    said = str(found.exception)
    assert all(repr(word) in said for word in SENTENCES[sentence]) and "say it in words that it knows" in said
    assert "'a'" not in said and "\n" not in said
    assert not control_topic.read(broker, settings.topics.name("control"), 10).live


@pytest.mark.parametrize("sentence", SENTENCES)
def test_ingest_names_unknown_words_of_the_settings(
    deployment: tuple[Settings, Path], broker: Broker, sentence: str
) -> None:
    """The labels of the settings are applied, since it is workers who must read them, and each unknown word is said."""
    settings = Settings.model_validate({**deployment[0].model_dump(), "labels": [sentence, "a person runs"]})

    with structlog.testing.capture_logs() as logs:
        LabelsInSettings(broker, settings, warn=True).start()

    (said,) = [line["reason"] for line in logs if line["event"] == "a label cannot be watched for"]
    assert all(repr(word) in said for word in SENTENCES[sentence])


def test_workers_mark_unknown_words_of_the_settings(deployment: tuple[Settings, Path], broker: Broker) -> None:
    """All twenty are refused beside one that is watched for; `labels list` and `status` name the words of each."""
    settings, folder = deployment
    settings = Settings.model_validate({**settings.model_dump(), "labels": [*SENTENCES, "a person runs"]})
    control, stop, workers = settings.topics.name("control"), threading.Event(), list[Worker]()
    started: Callable[..., None] = lambda worker, _: workers.append(worker)  # noqa: E731
    thread = threading.Thread(target=run_worker, args=(settings, broker), kwargs={"stop": stop, "started": started})
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not (workers and control_topic.read(broker, control, 10).reports and workers[0].ready() is None):
            assert time.monotonic() < deadline, "the worker did not get ready"
            time.sleep(0.1)
    finally:
        stop.set()
        thread.join()

    config = ["--config", str(folder / "actionwire.yaml")]
    listed = json.loads(CliRunner().invoke(app, ["labels", "list", "--json", *config]).stdout)
    refused = {label["text"]: label["refused"] for label in listed["labels"] if "refused" in label}
    assert set(refused) == set(SENTENCES)
    assert all(repr(word) in refused[text] for text, words in SENTENCES.items() for word in words)
    shown = CliRunner().invoke(app, ["status", *config], env={"COLUMNS": "300"}).stdout
    assert shown.count("NOT watched for: ") == 20
