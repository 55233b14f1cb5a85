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
from pipeline.broker.reading import read_all
from pipeline.errors import MessageTooLarge
from pipeline.records.labels import (
    ConfigLabels,
    ControlRecord,
    Label,
    LabelPart,
    LiveLabel,
    PartedLabels,
    in_parts,
)
from pipeline.records.wire import Message, Partition

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


MANY = tuple(
    Label(
        f"l{number:05}", f"a person does the thing number {number} with something else", "all", ("yard-*", "door"), 0.7
    )
    for number in range(10_000)
)


def in_records(broker: Broker) -> list[tuple[bytes, int]]:
    """Key and size of every record of the topic."""
    records = read_all(broker, [Partition(TOPIC, 0)])
    return [(record.key or b"", len(record.value or b"")) for record in records]


def test_ten_thousand_labels_are_in_force(broker: Broker) -> None:
    """More than one record takes: in parts that do, and in force with the record after them; written once."""
    sets = control_topic.apply_config(broker, TOPIC, MANY, 5)

    assert sets.config == MANY and sets == control_topic.read(broker, TOPIC, 5)
    keys, sizes = zip(*in_records(broker), strict=True)
    assert keys == (b"config/0/0", b"config/0/1", b"config/0/2", b"config") and max(sizes) <= 500_000
    assert sets.version == len(keys) - 1
    assert control_topic.apply_config(broker, TOPIC, MANY, 5, edited=False) == sets


def test_sets_in_parts_take_turns(broker: Broker) -> None:
    """The next set is written beside the one in force, so that compaction keeps that whole; a small one needs none.

    set     many 1   many 2   many 1   small   many 2
    parts   0        1        0        -       0
    """
    for labels, generation in ((MANY, 0), (MANY[1:], 1), (MANY, 0), ((FALL,), None), (MANY[1:], 0)):
        sets = control_topic.apply_config(broker, TOPIC, labels, 5)
        assert (sets.config, sets.generation) == (labels, generation)
    assert control_topic.apply_config(broker, TOPIC, MANY, 5, edited=False).config == MANY[1:], "it was replaced"


def test_a_writer_who_dies_half_way_spoils_nothing(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts are never named. What was in force stays, for who reads on and for who reads anew."""
    before = control_topic.apply_config(broker, TOPIC, MANY, 5)
    records = in_parts(ConfigLabels(MANY[1:]), content_of(MANY[1:]), 1, 500_000)
    assert records is not None
    control_topic.write(broker, TOPIC, records[:-2], 5)
    found = control_topic.read(broker, TOPIC, 5)
    assert (found.config, found.version, found.generation) == (MANY, before.version, 0)
    assert control_topic.apply_config(broker, TOPIC, MANY[2:], 5).config == MANY[2:]


def test_parts_of_two_writers_are_no_set(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two write at once, over each other's parts: whose parts were spoilt is passed over with a word, and writes again.

    host A   part 0  part 1  part 2                          named (passed over)   all again, named
    host B                           part 1 (of another set)
    """
    write, written, spoilt = control_topic.write, list[int](), list[int]()

    def disturbed(*arguments: Any) -> int:
        if isinstance(arguments[2][0], PartedLabels) and not spoilt:
            spoilt.append(write(broker, TOPIC, [LabelPart(0, 1, (RUN,))], 5))
        written.append(write(*arguments))
        return written[-1]

    monkeypatch.setattr(control_topic, "write", disturbed)
    with structlog.testing.capture_logs() as logs:
        sets = control_topic.apply_config(broker, TOPIC, MANY, 5)

    assert sets.config == MANY and sets.version == written[-1]
    assert [line["offset"] for line in logs if "lacks parts" in line["event"]] == [spoilt[0] + 1]


def test_a_broker_that_takes_little_gets_small_parts() -> None:
    """As small as it takes, and one that does not fit at all is refused with what to do."""
    broker = InProcessBroker(max_message_bytes=10_000)
    broker.ensure_topics([TopicSettings(TOPIC, 1)], 5)
    assert control_topic.apply_config(broker, TOPIC, MANY[:1000], 5).config == MANY[:1000]
    assert max(size for _, size in in_records(broker)) <= 8_000
    broker.close()
    tiny = InProcessBroker(max_message_bytes=3_000)
    tiny.ensure_topics([TopicSettings(TOPIC, 1)], 5)
    with pytest.raises(MessageTooLarge, match=r"1000 labels do not fit .*raise kafka.max_message_bytes"):
        control_topic.apply_config(tiny, TOPIC, MANY[:1000], 5)
    assert control_topic.read(tiny, TOPIC, 5).config == ()
    tiny.close()
