"""`actionwire labels`, against a real broker where the command line is meant."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipeline.analysis.label_set import added, make
from pipeline.broker import connect, control_topic
from pipeline.broker.contract import Broker, TopicSettings
from pipeline.broker.in_process import InProcessBroker
from pipeline.commands.labels import add_label, labels, listing, refused, remove_label, require_readable, table
from pipeline.config.kafka import KafkaSettings
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.local.broker_node import BrokerNode
from pipeline.records.label_report import LabelReport
from pipeline.records.labels import LiveLabel

TOPIC = "actionwire.control"

app = typer.Typer()
app.add_typer(labels, name="labels")


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker inside this process, with an empty control topic."""
    broker = InProcessBroker()
    broker.ensure_topics([TopicSettings(TOPIC, 1)], 5)
    yield broker
    broker.close()


@pytest.fixture
def run(broker_node: BrokerNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `actionwire labels` on a namespace of its own and returns what it printed."""
    namespace = f"labels-{os.getpid()}-{tmp_path.name[-8:].replace('_', '-')}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTIONWIRE_TOPICS__NAMESPACE", namespace)
    broker = connect(KafkaSettings(bootstrap=broker_node.bootstrap))
    broker.ensure_topics([TopicSettings(f"{namespace}.control", 1)], 20)
    broker.close()

    def run(*arguments: str) -> str:
        found = CliRunner().invoke(
            app,
            ["labels", *arguments, "--bootstrap", broker_node.bootstrap],
            env={"COLUMNS": "200"},
            catch_exceptions=False,
        )
        assert found.exit_code == 0, found.output
        return found.stdout

    return run


@pytest.mark.kafka
def test_labels_are_added_listed_and_removed(run: Callable[..., str], tmp_path: Path) -> None:
    """What a person types on one line is in force on the next, with its settings and where it comes from."""
    (tmp_path / "shop.yaml").write_text(
        "labels:\n  - a person falls down\n  - {text: two people shake hands, group: all}\n"
    )

    assert "as a-man-runs, label set 0" in run("add", "a man runs", "--camera", "yard-[ab]*", "--enter", "0.8")
    assert "2 labels of shop.yaml are in force, label set 1" in run("apply", "shop.yaml")
    assert "label set 1" in run("apply", "shop.yaml")

    found = json.loads(run("list", "--json"))
    assert found["version"] == 1
    assert [(label["id"], label["source"]) for label in found["labels"]] == [
        ("a-man-runs", "live"),
        ("a-person-falls-down", "config"),
        ("two-people-shake-hands", "config"),
    ]
    shown = run("list")
    assert "yard-[ab]*" in shown
    assert "enter 0.8" in shown

    assert "no longer watching" in run("remove", "a man runs")
    assert len(json.loads(run("list", "--json"))["labels"]) == 2


@pytest.mark.kafka
def test_the_labels_of_the_file_are_applied_and_not_those_of_the_environment(
    run: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever names a file means that file."""
    monkeypatch.setenv("ACTIONWIRE_LABELS", '["a person waves"]')
    (tmp_path / "shop.yaml").write_text("labels: [a person falls down]")

    assert "1 labels of shop.yaml are in force" in run("apply", "shop.yaml")
    assert [label["text"] for label in json.loads(run("list", "--json"))["labels"]] == ["a person falls down"]


@pytest.mark.kafka
def test_mistakes_have_clear_answers(run: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A threshold out of range, an unknown key in a file, an unknown name and a missing topic each say what to do."""
    (tmp_path / "typo.yaml").write_text("labels:\n  - {text: a person runs, entr: 0.5}\n")

    with pytest.raises(ConfigurationError, match="'enter' of label 'a dog runs' must be between 0 and 1"):
        run("add", "a dog runs", "--enter", "1.5")
    with pytest.raises(ConfigurationError, match="did you mean 'enter'"):
        run("apply", "typo.yaml")
    with pytest.raises(ConfigurationError, match="no label 'a dog flies'"):
        run("remove", "a dog flies")
    monkeypatch.setenv("ACTIONWIRE_TOPICS__NAMESPACE", "nobody-made-this")
    with pytest.raises(ConfigurationError, match=r"no topic nobody-made-this\.control"):
        run("list")


def test_adding_and_removing_change_the_version(broker: Broker) -> None:
    """Each change has a version of its own, and adding a text again changes its settings."""
    run = make({"text": "a person runs"})
    strict = make({"text": "a person runs", "enter": 0.9})

    assert [add_label(broker, TOPIC, run), add_label(broker, TOPIC, strict)] == [0, 1]
    assert control_topic.read(broker, TOPIC, 5).live == (strict,)
    assert remove_label(broker, TOPIC, "a-person-runs", Settings()) == (2, False)
    assert listing(control_topic.read(broker, TOPIC, 5), {}) == {"version": 2, "labels": []}


def test_removing_what_hides_a_label_of_the_settings_says_so(broker: Broker) -> None:
    """The label of the settings is in force again then: it is not true that nobody watches for it."""
    control_topic.apply_config(broker, TOPIC, (make({"text": "a person runs"}),), 5)
    add_label(broker, TOPIC, make({"text": "a person runs", "enter": 0.9}))

    assert remove_label(broker, TOPIC, "a person runs", Settings()) == (2, True)
    assert [label["source"] for label in listing(control_topic.read(broker, TOPIC, 5), {})["labels"]] == ["config"]


def test_people_who_edit_at_the_same_time_do_not_undo_each_other(broker: Broker) -> None:
    """Two who read the same set and then add different labels both find theirs in it."""
    add_label(broker, TOPIC, make({"text": "a person falls"}))
    mine, theirs = make({"text": "a person runs"}), make({"text": "a person waves"})
    sets = control_topic.read(broker, TOPIC, 5)

    control_topic.write(broker, TOPIC, [added(sets, mine)], 5)
    control_topic.write(broker, TOPIC, [added(sets, theirs)], 5)

    assert len(control_topic.read(broker, TOPIC, 5).live) == 3


@pytest.mark.kafka
def test_a_label_that_contradicts_the_settings_is_refused(
    run: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a pair of thresholds may be well by itself and never fire once it is merged with `events`."""
    monkeypatch.setenv("ACTIONWIRE_EVENTS__ENTER", "0.3")
    (tmp_path / "shop.yaml").write_text("labels: [{text: a person runs, exit: 0.4}]")

    with pytest.raises(ConfigurationError, match=r"exit 0\.6 is above enter 0\.3"):
        run("add", "a person runs", "--exit", "0.6")
    with pytest.raises(ConfigurationError, match=r"exit 0\.4 is above enter 0\.3"):
        run("apply", "shop.yaml")
    assert json.loads(run("list", "--json")) == {"version": -1, "labels": []}


@pytest.mark.kafka
def test_a_file_without_labels_is_not_applied(run: Callable[..., str], tmp_path: Path) -> None:
    """A file that says nothing of labels ends none; an empty list does."""
    (tmp_path / "shop.yaml").write_text("labels: [a person runs]")
    (tmp_path / "cameras.yaml").write_text("rate: 4")
    (tmp_path / "none.yaml").write_text("labels: []")
    run("apply", "shop.yaml")

    with pytest.raises(ConfigurationError, match=r"cameras\.yaml says nothing of labels; write `labels: \[\]`"):
        run("apply", "cameras.yaml")
    assert len(json.loads(run("list", "--json"))["labels"]) == 1
    assert "0 labels of none.yaml are in force" in run("apply", "none.yaml")


def test_words_are_not_refused_for_a_bundle_that_is_not_here(
    broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    """The workers run a bundle of another machine: the label is added, and a line says that it was not checked."""
    settings = Settings()
    report = LabelReport(settings.worker.group, "f" * 64, "theirs", "2.0", -1, (("fence", "too long"),), 1)
    control_topic.write(broker, TOPIC, [report, LiveLabel("fence", make({"text": "a fence", "id": "fence"}))], 5)
    sets = control_topic.read(broker, TOPIC, 5)

    require_readable(settings, sets, [make({"text": "a person climbs a fence"})])

    assert "not checked" in (said := capsys.readouterr().err) and "theirs@2.0" in said
    found = listing(sets, refused(settings, sets))
    assert found["labels"][0]["refused"] == "too long"
    assert [column.header for column in table(found).columns][-1] == "refused"
    assert [column.header for column in table(listing(sets, {})).columns][-1] == "source"
