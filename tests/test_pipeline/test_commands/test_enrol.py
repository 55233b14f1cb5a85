"""`actionwire enrol`: what is written, in which order, and what is refused before anything is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from engines.testing import tiny_bundle
from pipeline.analysis.label_set import LabelSets, in_force, make
from pipeline.broker import control_topic
from pipeline.broker.contract import Broker
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.partitioning import partition_of
from pipeline.broker.topics import apply_topics
from pipeline.broker.writing import write_messages
from pipeline.commands.enrol import enrol, teach, too_short
from pipeline.commands.labels import remove_label
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.examples.topic import ExampleTopic
from pipeline.records.events import Evidence, encode_event
from pipeline.records.examples import Example, ExamplePicture
from pipeline.records.frames import encode_stream_record
from pipeline.records.jpeg import encode_jpeg
from pipeline.records.labels import Label
from pipeline.testing import frame, sample_event

SETTINGS = Settings()
CONTROL, EXAMPLES = SETTINGS.topics.name("control"), SETTINGS.topics.name("examples")
FENCE = make({"text": "over the fence"})
ONE, TWO, THREE = (
    Example(FENCE.id, 4, (ExamplePicture(0, 1.0, b"first"), ExamplePicture(2, 1.0, name)), name.decode())
    for name in (b"1", b"2", b"3")
)


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker inside this process, with the topics."""
    made = InProcessBroker()
    apply_topics(made, SETTINGS)
    yield made
    made.close()


def labels(broker: Broker) -> dict[str, Label]:
    """What is in force."""
    return {label.id: label for label in in_force(control_topic.read(broker, CONTROL, 5)).labels}


def test_what_is_shown_is_there_before_the_label_that_names_it(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads the label finds every example; more of it come on top, as does what it is not."""
    order: list[str] = []
    written = "pipeline.broker.writing.write_messages"
    original: Any = control_topic.write_messages

    def noting(broker: Broker, topic: str, *rest: Any) -> int:
        order.append(topic)
        return int(original(broker, topic, *rest))

    for module in (written, "pipeline.examples.topic.write_messages", "pipeline.broker.control_topic.write_messages"):
        monkeypatch.setattr(module, noting)
    assert teach(broker, SETTINGS, FENCE, [ONE, TWO], []) == 0
    assert order == [EXAMPLES, CONTROL]
    assert teach(broker, SETTINGS, FENCE, [], [THREE]) == 1
    assert labels(broker) == {FENCE.id: replace(FENCE, examples=(ONE.id, TWO.id), counterexamples=(THREE.id,))}
    names = [(FENCE.id, one.id) for one in (ONE, TWO, THREE)]
    assert list(ExampleTopic(broker, EXAMPLES).find(names)) == [ONE, TWO, THREE]


@pytest.mark.parametrize(
    ("shown", "others", "words"),
    [
        ([], [], "nothing to learn from"),
        ([], [ONE], "has no example yet"),
        ([ONE, ONE], [], "shows the same pictures as 1"),
        ([ONE], [ONE], "shows the same pictures as 1"),
    ],
)
def test_what_teaches_nothing_is_refused_and_nothing_is_written(
    broker: Broker, shown: list[Example], others: list[Example], words: str
) -> None:
    """Not one record on either topic."""
    with pytest.raises(ConfigurationError, match=words):
        teach(broker, SETTINGS, FENCE, shown, others)
    assert labels(broker) == {} and ExampleTopic(broker, EXAMPLES).names() == frozenset()


def test_an_example_that_is_known_is_refused(broker: Broker) -> None:
    """Also as what the label is not."""
    teach(broker, SETTINGS, FENCE, [ONE], [])
    for shown, others in (([ONE], []), ([], [ONE])):
        with pytest.raises(ConfigurationError, match="the same pictures as an example that is enrolled already"):
            teach(broker, SETTINGS, FENCE, shown, others)


def test_whatever_removes_the_label_takes_its_examples_back(broker: Broker) -> None:
    """A label of the settings that it hid is watched for by its text again; another label keeps what it has."""
    control_topic.apply_config(broker, CONTROL, (FENCE,), 5)
    jump = make({"text": "jump"})
    teach(broker, SETTINGS, FENCE, [ONE], [TWO])
    teach(broker, SETTINGS, jump, [replace(THREE, label=jump.id)], [])
    assert remove_label(broker, CONTROL, "over the fence", SETTINGS) == (3, True)
    assert ExampleTopic(broker, EXAMPLES).names() == {(jump.id, THREE.id)}
    assert labels(broker)[FENCE.id] == FENCE


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["it", "--camera", "gate"], "--camera, --from and --to belong together"),
        (["it", "--camera", "gate", "--from", "noon", "--to", "one"], "no instant such as"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_the_broker_is_asked(arguments: list[str], words: str) -> None:
    """`add` may be left out, whatever comes first."""
    app = typer.Typer()
    app.add_typer(enrol, name="enrol")
    app.command()(lambda: None)
    for given in (arguments, ["add", *arguments], [*arguments[1:], arguments[0]]):
        found = CliRunner().invoke(app, ["enrol", *given])
        assert isinstance(found.exception, ConfigurationError) and words in str(found.exception), found.output


def test_events_teach_what_it_was_and_what_it_was_not(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As people type it: an event that was it, another that was not; then what is enrolled, and its removal."""
    monkeypatch.setattr("pipeline.commands.labels.connect", lambda _: broker)
    monkeypatch.setattr(broker, "close", lambda: None)
    frames = SETTINGS.topics.name("frames")
    partition = partition_of(b"gate", SETTINGS.topics.partitions)
    jpegs = [encode_jpeg(np.full((8, 8, 3), number * 20, np.uint8)) for number in range(12)]
    shown = [encode_stream_record(frame("gate", 100 + tick, jpeg=jpeg)) for tick, jpeg in enumerate(jpegs)]
    write_messages(broker, frames, shown, 5)
    event = sample_event(
        camera="gate", session=1, label="a person waves", label_id="a-person-waves",
        evidence=Evidence(frames, partition, 0, 4),
    )  # fmt: skip
    other = replace(event, id=event.id[:-1] + "1", evidence=Evidence(frames, partition, 6, 11))
    write_messages(broker, SETTINGS.topics.name("events"), [encode_event(one, "/a") for one in (event, other)], 5)

    def run(*arguments: str) -> str:
        app = typer.Typer()
        app.add_typer(enrol, name="enrol")
        app.command()(lambda: None)
        found = CliRunner().invoke(app, ["enrol", *arguments], catch_exceptions=False)
        return found.stdout

    assert "1 examples more, label set 0" in run("a person waves", "--event", event.id)
    assert "1 counterexamples more, label set 1" in run("--not", other.id)
    label = labels(broker)["a-person-waves"]
    names = [("a-person-waves", one) for one in (*label.examples, *label.counterexamples)]
    it, not_it = ExampleTopic(broker, EXAMPLES).find(names)
    assert [one.jpeg for one in it.pictures] == jpegs[:5] and [one.jpeg for one in not_it.pictures] == jpegs[6:]
    listed = json.loads(run("list", "--json"))["labels"]
    assert [(one["shows"], one["pictures"]) for one in listed[0]["examples"]] == [(True, 5), (False, 6)]
    assert f"not {label.counterexamples[0]}" in run("list")
    assert "1 clips of 1 actions and 1 of background" in run("export", str(tmp_path / "taught"))
    assert len((tmp_path / "taught" / "labels.csv").read_text().splitlines()) == 3
    assert "no longer watching" in run("remove", "a person waves")
    assert ExampleTopic(broker, EXAMPLES).names() == frozenset() and labels(broker) == {}


def test_an_example_that_does_not_fill_a_window_is_said(tmp_path: Path) -> None:
    """The bundle's window is three seconds; where the bundle is not on this machine nothing is known, nor said."""
    bundle = tiny_bundle(tmp_path / "tiny", frames=12)
    here = Settings.model_validate({"worker": {"bundle": str(bundle)}})
    long = Example(FENCE.id, 4, tuple(ExamplePicture(tick, 1.0, b"x") for tick in range(12)), "long.mp4")
    (line,) = too_short(here, LabelSets(), [replace(ONE, source="short.mp4"), long])
    assert "short.mp4 lasts 0.75 s and a window of tiny@0.1.0 3 s: its last picture is held" in line
    away = Settings.model_validate({"worker": {"bundle": "nobody-has-this"}})
    assert too_short(away, LabelSets(), [ONE]) == []
