"""The control topic, over the broker inside one process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from pipeline.analysis.label_set import content_of, make
from pipeline.broker import control_topic
from pipeline.broker.contract import Broker, TopicSettings
from pipeline.broker.in_process import InProcessBroker
from pipeline.records.labels import ConfigLabels, ControlRecord, Label, LiveLabel
from pipeline.records.wire import Message

TOPIC = "actionwire.control"
FALL = make({"text": "a person falls"})
RUN = make({"text": "a person runs"})
WAVE = make({"text": "a person waves"})


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker with an empty control topic."""
    broker = InProcessBroker()
    broker.ensure_topics([TopicSettings(TOPIC, 1)], 5)
    yield broker
    broker.close()


def test_what_is_written_is_in_force(broker: Broker) -> None:
    """The offset of the last record written is the version that a reader finds."""
    version = control_topic.write(broker, TOPIC, [ConfigLabels((FALL,)), LiveLabel(RUN.id, RUN)], 5)

    sets = control_topic.read(broker, TOPIC, 5)

    assert (sets.config, sets.live, sets.version) == ((FALL,), (RUN,), version)


def test_an_empty_topic_is_an_empty_set(broker: Broker) -> None:
    """Nothing is in force before the first record, and no reader waits for one."""
    assert control_topic.read(broker, TOPIC, 5).version == -1


def test_a_reader_follows(broker: Broker) -> None:
    """A poll returns True when the labels in force may have changed."""
    with control_topic.ControlReader(broker, TOPIC) as reader:
        reader.catch_up(5)
        assert not reader.poll(0)

        control_topic.write(broker, TOPIC, [LiveLabel(FALL.id, FALL)], 5)

        assert reader.poll(5)
        assert reader.sets.live == (FALL,)


def test_settings_are_written_once(broker: Broker) -> None:
    """Starting again with the same settings writes nothing; other settings take the place of the first."""
    first = control_topic.apply_config(broker, TOPIC, [RUN, FALL], 5)
    again = control_topic.apply_config(broker, TOPIC, [FALL, RUN], 5)
    other = control_topic.apply_config(broker, TOPIC, [FALL], 5)

    assert (first.version, again.version, other.version) == (0, 0, 1)
    assert other == control_topic.read(broker, TOPIC, 5)


def test_an_empty_list_is_written_once(broker: Broker) -> None:
    """`labels: []` is a content like any other: written once, and replaced by what comes after it."""
    assert control_topic.apply_config(broker, TOPIC, [], 5, edited=False).version == 0
    assert control_topic.apply_config(broker, TOPIC, [], 5, edited=False).version == 0
    control_topic.apply_config(broker, TOPIC, [FALL], 5)

    assert control_topic.apply_config(broker, TOPIC, [], 5, edited=False).config == (FALL,)


@pytest.mark.parametrize("old", [(FALL,), (FALL, WAVE), ()])
def test_ten_restarts_with_an_old_file_change_nothing(broker: Broker, old: tuple[Label, ...]) -> None:
    """Two hosts: what the older file says was replaced, and nobody who merely starts with it puts it back.

    host B (old)   start           restart x 10
    host A (new)           start                 restart
    in force       old     new     new           new
    """
    control_topic.apply_config(broker, TOPIC, old, 5, edited=False)
    newer = control_topic.apply_config(broker, TOPIC, [RUN], 5, edited=False)

    for _ in range(10):
        assert control_topic.apply_config(broker, TOPIC, old, 5, edited=False) == newer
    assert control_topic.apply_config(broker, TOPIC, [RUN], 5, edited=False) == newer
    assert control_topic.apply_config(broker, TOPIC, old, 5, edited=True).config == old


def test_two_who_start_at_once_forget_neither(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another record came between reading and writing, the newest names it too: compaction leaves only that.

    host A   read          write run                 the newest record: run, replaced: fall, wave
    host B         (write wave)
    """
    control_topic.apply_config(broker, TOPIC, [FALL], 5)
    written, write = list[ControlRecord](), control_topic.write

    def overtaken(*arguments: Any) -> int:
        if not written:
            write(broker, TOPIC, [ConfigLabels((WAVE,), (content_of([FALL]),))], 5)
        written.append(arguments[2][0])
        return write(*arguments)

    monkeypatch.setattr(control_topic, "write", overtaken)
    control_topic.apply_config(broker, TOPIC, [RUN], 5, edited=False)

    assert written[-1] == ConfigLabels((RUN,), (content_of([FALL]), content_of([WAVE])))
    assert control_topic.apply_config(broker, TOPIC, [WAVE], 5, edited=False).config == (RUN,)


def test_a_record_that_makes_no_sense_is_passed_over(broker: Broker) -> None:
    """Somebody else's garbage in the topic changes nothing and stops nobody."""
    control_topic.write(broker, TOPIC, [ConfigLabels((FALL,))], 5)
    producer = broker.producer()
    producer.send(TOPIC, Message(b"config", b"garbage", partition=0))
    producer.flush(5)
    producer.close()

    sets = control_topic.read(broker, TOPIC, 5)

    assert (sets.config, sets.version) == ((FALL,), 0)


NO_LABELS = [b"[" * 100_000, b'{"schema":1,"labels":[[]]}', b'{"schema":1,"labels":[""]}', b"\xff"]


@pytest.mark.parametrize("value", NO_LABELS)
def test_a_record_that_is_none_is_said_and_passed_over(broker: Broker, value: bytes) -> None:
    """Every worker reads it for a week; a good record of the same key counts, before it and after it."""
    control_topic.write(broker, TOPIC, [ConfigLabels((FALL,))], 5)
    broker.producer().send(TOPIC, Message(b"config", value, partition=0))
    with structlog.testing.capture_logs() as logs:
        assert control_topic.read(broker, TOPIC, 5).config == (FALL,)
    assert [(one["topic"], one["partition"], one["offset"], one["key"]) for one in logs] == [(TOPIC, 0, 1, "b'config'")]
    assert len(logs[0]["error"]) < 300
    version = control_topic.write(broker, TOPIC, [ConfigLabels((RUN,))], 5)
    sets = control_topic.read(broker, TOPIC, 5)
    assert (sets.config, sets.version) == ((RUN,), version)
