"""`actionwire watch`: committed events, chosen by camera and label."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pipeline.broker.contract import Broker, TopicSettings
from pipeline.broker.in_process import InProcessBroker
from pipeline.commands.watch import Choice, follow, line
from pipeline.records.events import ActionEvent, encode_event, event_document
from pipeline.records.wire import Message
from pipeline.testing import sample_event

TOPIC = "actionwire.events"
STARTED, ENDED = sample_event("started"), sample_event("ended", peak=0.97)


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker with an events topic."""
    broker = InProcessBroker()
    broker.ensure_topics([TopicSettings(TOPIC, 2)], 5)
    yield broker
    broker.close()


def send(broker: Broker, *messages: Message, commit: bool = True) -> None:
    """Send messages in one transaction."""
    transactions = broker.transactions("test", 5)
    transactions.begin()
    for message in messages:
        transactions.send(TOPIC, message)
    transactions.offsets(5)
    transactions.commit() if commit else transactions.abort()
    transactions.close()


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        (Choice(), True),
        (Choice(cameras=("front-door",)), True),
        (Choice(cameras=("yard", "front-*")), True),
        (Choice(cameras=("yard",)), False),
        (Choice(labels=("fall",)), True),
        (Choice(labels=("f*",)), True),
        (Choice(labels=("A person falls",)), True),
        (Choice(labels=("a person runs",)), False),
        (Choice(cameras=("front-door",), labels=("run",)), False),
    ],
)
def test_events_are_chosen_by_camera_and_label(choice: Choice, taken: bool) -> None:
    """Cameras by id or glob, labels by id, glob or text; both must fit."""
    assert choice.takes(STARTED) is taken


def test_only_committed_events_come_in_full(broker: Broker) -> None:
    """From the beginning to the end: what was aborted and what is no event is left out, bytes are as they were sent."""
    send(broker, encode_event(STARTED, "/test"))
    send(broker, encode_event(replace(STARTED, sequence=7), "/test"), commit=False)
    send(broker, Message(b"front-door", b"garbage"), encode_event(ENDED, "/test"))

    found = list(follow(broker, TOPIC, begin=True, until_end=True))

    assert [event for _, event in found] == [STARTED, ENDED]
    assert json.loads(found[0][0].value or b"")["id"] == STARTED.id


def test_without_begin_only_new_events_come(broker: Broker) -> None:
    """Following starts at the end of the topic and goes on until it is told to stop."""
    send(broker, encode_event(STARTED, "/test"))
    stop = threading.Event()
    following = follow(broker, TOPIC, stop=stop)
    seen: list[ActionEvent] = []
    started = threading.Event()

    def run() -> None:
        started.set()
        for _, event in following:
            seen.append(event)
            stop.set()

    assert list(follow(broker, TOPIC, until_end=True)) == []
    thread = threading.Thread(target=run)
    thread.start()
    started.wait(5)
    while not stop.wait(0.05):
        send(broker, encode_event(ENDED, "/test"))
    thread.join(5)

    assert not thread.is_alive()
    assert set(seen) == {ENDED}


def test_a_line_says_when_where_what_and_how_it_ended() -> None:
    """One line per message, for people."""
    assert line(STARTED).plain == (
        "2023-11-14T22:13:32.250Z  front-door       started  a person falls  peak 0.93  since 2023-11-14T22:13:31.000Z"
    )
    assert line(ENDED).plain.endswith("for 3.5 s  (score)")


DOCUMENT = event_document(ENDED)


@pytest.mark.parametrize(
    "change",
    [
        {"phase": "asleep"},
        {"peak": None},
        {"peak": {}},
        {"peak": 2},
        {"label": {"id": None, "text": "x"}},
        {"label": {"id": "Not An Id!", "text": "x"}},
        {"label": []},
        {"label": {"id": "x", "text": "\ud800"}},
        {"start": 5},
        {"start": "9999-12-31T23:59:59Z"},
        {"camera": ["a"]},
        {"end": None},
        {"evidence": {**DOCUMENT["evidence"], "partition": -1}},
    ],
)
def test_what_is_no_event_is_passed_over(broker: Broker, change: dict[str, object]) -> None:
    """It stays in the topic for a week, and must end no `watch` meanwhile; what follows it is shown."""
    send(broker, Message(b"door", json.dumps({**DOCUMENT, **change}).encode()), encode_event(STARTED, "/a"))

    found = [event for _, event in follow(broker, TOPIC, begin=True, until_end=True)]

    assert found == [STARTED] and line(found[0]).plain


def test_what_a_newer_version_says_is_passed_over(broker: Broker) -> None:
    """Fields that this version does not know, at any depth, change nothing."""
    more = {**DOCUMENT, "mood": 1, "model": {**DOCUMENT["model"], "mood": 1}, "label": {**DOCUMENT["label"], "mood": 1}}
    send(broker, Message(b"door", json.dumps(more).encode()))

    assert [event for _, event in follow(broker, TOPIC, begin=True, until_end=True)] == [ENDED]
