import threading

from pipeline.broker.contract import TopicSettings
from pipeline.broker.in_process import InProcessBroker
from pipeline.control import ControlReader, write
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
    views = Views(embed, wait_seconds=0)
    views.put(colours(2, "red"))
    views.put(colours(5, "blue"))
    assert [views(version).version for version in (-1, 0, 2, 4, 5)] == [-1, 2, 2, 5, 5]
    assert views.newest.version == 5


def test_a_version_that_is_on_its_way_is_waited_for() -> None:
    """A marker may be read before the control record that it announces; one that never comes stops nobody."""
    views = Views(embed, wait_seconds=20)
    threading.Timer(0.05, views.put, [colours(3, "red")]).start()
    assert views(3).version == 3
    stray = Views(embed, wait_seconds=0)
    stray.put(colours(2, "red"))
    assert stray(9).version == 2
    stray.put(colours(9, "blue"))
    assert stray(9).version == 9


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
