import threading
import time

from pipeline.analysis.label_set import LabelSet
from pipeline.analysis.partition import LabelView
from pipeline.broker.contract import TopicSettings
from pipeline.broker.control_topic import ControlReader, write
from pipeline.broker.in_process import InProcessBroker
from pipeline.records.frames import LabelsMarker, decode_stream_record
from pipeline.records.labels import Label, LiveLabel
from pipeline.records.wire import Partition
from pipeline.testing import ColourLabels
from pipeline.worker.label_sync import LabelMarkers, follow
from pipeline.worker.label_views import LabelHistory, LabelViews


def embed(labels: LabelSet) -> LabelView:
    """A label view of colours."""
    return ColourLabels.of(labels.version, [label.id for label in labels.labels])


def test_following_the_topic_serves_catch_up_requests() -> None:
    """A version that is not in the control topic is resolved as soon as the topic was read to its end.

    Every round ends with a chance to release what only new labels need.
    """
    broker = InProcessBroker()
    broker.ensure_topics([TopicSettings("frames", 1), TopicSettings("control", 1)], 1.0)
    history, stop, ready = LabelHistory(), threading.Event(), list[LabelSet]()
    label_views = LabelViews(embed, history)
    markers = LabelMarkers(broker.producer(), "frames", lambda: {})
    with ControlReader(broker, "control", history.add) as control:
        rested: list[int] = []
        rest = lambda: rested.append(len(ready))  # noqa: E731
        thread = threading.Thread(
            target=follow, args=(control, history, label_views, markers, stop, ready.append, rest)
        )
        thread.start()
        write(broker, "control", [LiveLabel("red", Label("red", "red"))], 5.0)
        assert label_views(0).version == 0
        assert label_views(7).version == 0
        write(broker, "control", [LiveLabel("blue", Label("blue", "blue"))], 5.0)
        assert label_views(1).version == 1
        while len(ready) < 2 or 2 not in rested:
            time.sleep(0.001)
        stop.set()
        thread.join()
    assert [len(one.labels) for one in ready] == [1, 2]
    broker.close()


def test_every_partition_that_lacks_a_version_is_marked_once_per_epoch() -> None:
    """A new set gets one marker; a partition that was assigned again gets another, unless it has the version."""
    broker = InProcessBroker()
    broker.ensure_topics([TopicSettings("frames", 2), TopicSettings("control", 1)], 1.0)
    owned = {Partition("frames", 0): (1, -1)}
    history = LabelHistory()
    label_views = LabelViews(embed, history)
    markers = LabelMarkers(broker.producer(), "frames", lambda: dict(owned))
    stop = threading.Event()
    with ControlReader(broker, "control", history.add) as control:
        thread = threading.Thread(target=follow, args=(control, history, label_views, markers, stop))
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
