"""`actionwire enrol`: what is written, in which order, and what is refused before anything is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipeline.analysis.label_set import in_force, make
from pipeline.broker import control_topic
from pipeline.broker.contract import Broker
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.topics import apply_topics
from pipeline.commands.enrol import enrol, teach
from pipeline.commands.labels import remove_label
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.examples.topic import ExampleTopic
from pipeline.records.examples import Example, ExamplePicture
from pipeline.records.labels import Label

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
