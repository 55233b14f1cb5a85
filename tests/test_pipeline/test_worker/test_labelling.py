import threading
import time

import pytest

from pipeline.broker.contract import TopicSettings
from pipeline.broker.in_process import InProcessBroker
from pipeline.control import ControlReader, write
from pipeline.errors import BrokerTimeout
from pipeline.labels import LabelSet
from pipeline.records.frames import LabelsMarker, decode_stream_record
from pipeline.records.labels import Label, LiveLabel
from pipeline.records.wire import Partition
from pipeline.testing import ColourLabels
from pipeline.worker.labelling import Announcer, Views, follow
from pipeline.worker.lanes import LabelView


def embed(labels: LabelSet) -> LabelView:
    """A view of colours."""
    return ColourLabels.of(labels.version, [label.id for label in labels.labels])


def colours(version: int, *names: str) -> LabelSet:
    """A set that watches for colours."""
    return LabelSet(tuple(Label(name, name) for name in names), version)


def test_a_version_that_was_compacted_away_is_the_next_one() -> None:
    """A marker of a version that no longer exists means the smallest above it, so every worker reads it alike.

    known versions   -1  .  .  2  .  5
    asked                0->2     4->5
    """
    views = Views(embed, limit_seconds=0)
    views.put(colours(2, "red"))
    views.put(colours(5, "blue"))
    views.answer(0, 8)
    assert [views(version).version for version in (-1, 0, 2, 4, 5)] == [-1, 2, 2, 5, 5]
    assert views(7).version == 5, "the end of the topic was a removal that is gone: nothing else is in force"
    assert views.newest.version == 5


def test_a_version_that_is_on_its_way_is_waited_for() -> None:
    """A marker may be read before the control record that it announces."""
    views = Views(embed)
    threading.Timer(0.05, views.put, [colours(3, "red")]).start()
    assert views(3).version == 3


def test_the_end_of_the_control_topic_decides_not_the_time() -> None:
    """A version counts as missing only once the topic was read to an end that was looked up after the question.

    asked     9?  ......................... 9?  ........ 2      and 9, once it was written
    read to       (out of reach: no answer)      3 = end
    """
    views = Views(embed, limit_seconds=0.01)
    views.put(colours(2, "red"))
    assert views.question is None
    with pytest.raises(BrokerTimeout, match="label set 9 is not known"):
        views(9)
    question = views.question
    assert question is not None
    answering = Views(embed)
    answering.put(colours(2, "red"))
    found: list[int] = []
    asking = threading.Thread(target=lambda: found.append(answering(9).version))
    asking.start()
    while (question := answering.question) is None:
        time.sleep(0.001)
    answering.answer(question - 1, 3)  # of an end that was looked up before
    asking.join(0.05)
    assert asking.is_alive()
    answering.answer(question, 3)
    asking.join(10)
    assert found == [2]
    assert answering(9).version == 2 and answering.question is None, "a stray is asked for once"
    answering.put(colours(9, "blue"))
    assert answering(9).version == 9


def test_whoever_follows_the_topic_answers() -> None:
    """A marker of a version that is not in the control topic is dealt with as soon as its end was read."""
    broker = InProcessBroker()
    broker.ensure_topics([TopicSettings("frames", 1), TopicSettings("control", 1)], 1.0)
    views, stop, ready = Views(embed), threading.Event(), list[LabelSet]()
    announcer = Announcer(broker.producer(), "frames", lambda: {})
    with ControlReader(broker, "control", views.seen) as control:
        thread = threading.Thread(target=follow, args=(control, views, announcer, stop, ready.append))
        thread.start()
        write(broker, "control", [LiveLabel("red", Label("red", "red"))], 5.0)
        assert views(0).version == 0
        assert views(7).version == 0
        write(broker, "control", [LiveLabel("blue", Label("blue", "blue"))], 5.0)
        assert views(1).version == 1
        while len(ready) < 2:
            time.sleep(0.001)
        stop.set()
        thread.join()
    assert [len(one.labels) for one in ready] == [1, 2]
    broker.close()


def test_every_partition_that_lacks_a_version_is_told_once_per_epoch() -> None:
    """A new set is announced once; a partition that was assigned again is told again, unless it has the version."""
    broker = InProcessBroker()
    broker.ensure_topics([TopicSettings("frames", 2), TopicSettings("control", 1)], 1.0)
    owned = {Partition("frames", 0): (1, -1)}
    views = Views(embed)
    announcer = Announcer(broker.producer(), "frames", lambda: dict(owned))
    stop = threading.Event()
    with ControlReader(broker, "control", views.seen) as control:
        thread = threading.Thread(target=follow, args=(control, views, announcer, stop))
        thread.start()
        write(broker, "control", [LiveLabel("red", Label("red", "red"))], 5.0)
        reader = broker.reader([Partition("frames", 0), Partition("frames", 1)])
        records = [_next(reader)]
        owned[Partition("frames", 1)] = (1, -1)
        records.append(_next(reader))
        owned[Partition("frames", 1)] = (2, 0)
        owned[Partition("frames", 0)] = (2, -1)
        records.append(_next(reader))
        stop.set()
        thread.join()
    assert [record.partition for record in records] == [0, 1, 0]
    found = [decode_stream_record(record.key, record.value, record.headers) for record in records]
    assert found == [LabelsMarker(0)] * 3
    broker.close()


def _next(reader):  # type: ignore[no-untyped-def]
    for _ in range(100):
        if records := reader.read(0.2):
            (record,) = records
            return record
    raise AssertionError("no marker came")
