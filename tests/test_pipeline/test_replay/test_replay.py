"""Video files and a stretch of a topic through the worker's path."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.testing import COLOURS, tiny_bundle
from pipeline.analysis.label_set import LabelSet
from pipeline.analysis.ticks import REPLAY_EPOCH_NS, SECOND, tick_ns
from pipeline.broker.contract import TopicSettings
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.reading import read_all
from pipeline.config.settings import Settings
from pipeline.config.topics import TopicsSettings
from pipeline.config.worker import WorkerSettings
from pipeline.errors import BrokerTimeout
from pipeline.records.events import ActionEvent
from pipeline.records.frames import FrameRecord, encode_stream_record
from pipeline.records.jpeg import encode_jpeg
from pipeline.records.label_report import LabelReport, encode_report
from pipeline.records.labels import ConfigLabels, Label, encode_control
from pipeline.records.wire import Message, Partition, Record
from pipeline.replay import replay as replay_module
from pipeline.replay.replay import Replay, fixed, label_history, replay_files, replay_topic
from pipeline.worker.decoding import decode
from pipeline.worker.label_views import LabelViews
from pipeline.worker.model import Model, load_model

Film = Callable[..., Path]


@pytest.fixture(scope="module", params=["frame", "clip"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of either kind that knows colours: windows of two seconds at four frames per second."""
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny", kind=request.param)


@pytest.fixture(scope="module")
def settings(bundle: Path) -> Settings:
    """Settings of a deployment with that bundle."""
    worker = WorkerSettings(bundle=str(bundle), backend="onnxruntime", threads=1)
    return Settings(worker=worker, topics=TopicsSettings(namespace="test", partitions=2))


@pytest.fixture(scope="module")
def model(settings: Settings) -> Model:
    """The loaded bundle."""
    return load_model(settings)


RED = LabelSet((Label("cyan", "cyan"), Label("magenta", "magenta")), 0)


def spans(events: Sequence[ActionEvent]) -> list[tuple[str, str, float, float]]:
    """Camera, label, start and end of every event that ended, in seconds since the epoch of a replay."""
    return [
        (one.camera, one.label, (one.start_ns - REPLAY_EPOCH_NS) / SECOND, (one.end_ns - REPLAY_EPOCH_NS) / SECOND)
        for one in events
        if one.end_ns is not None
    ]


def test_a_file_becomes_events(film: Film, tmp_path: Path, model: Model, settings: Settings) -> None:
    """What is shown between grey scenes is one event of its colour, at about its time; what lasts to the end ends too.

    seconds  0      6       12      18     24
    shown    grey   cyan    grey    magenta
    """
    file = film(tmp_path / "yard.mp4", [("grey", 6), ("cyan", 6), ("grey", 6), ("magenta", 6)])
    running = Replay(model, fixed(model, RED), settings)
    events = list(replay_files(running, model, settings, {"yard": file}))
    found = spans(events)
    assert [(camera, label) for camera, label, _, _ in found] == [("yard", "cyan"), ("yard", "magenta")]
    assert abs(found[0][2] - 7) < 1.5 and abs(found[0][3] - 13) < 1.5
    assert events[-1].reason == "session" and abs(found[1][3] - 24) < 0.5
    assert running.summary.frames == running.summary.windows + 7 and running.summary.frames in (96, 97)


def test_frames_are_fitted_as_ingest_would_fit_them(
    film: Film, tmp_path: Path, model: Model, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `ingest.fit: auto` a replay sees frames of the bundle's size, like a live worker; the events stay."""
    file = film(tmp_path / "a.mp4", [("grey", 4), ("cyan", 5), ("grey", 3)])
    found, sizes = [], []

    def noted(image: Any, quality: int) -> bytes:
        sizes.append(image.shape[:2])
        return encode_jpeg(image, quality)

    monkeypatch.setattr(replay_module, "encode_jpeg", noted)
    for fit in ("off", "auto"):
        ingest = settings.ingest.model_copy(update={"fit": fit})
        fitted = settings.model_copy(update={"ingest": ingest})
        found.append(spans(list(replay_files(Replay(model, fixed(model, RED), fitted), model, fitted, {"a": file}))))
    size = model.bundle.manifest.input

    assert found[0] == found[1] and found[0] and sizes[-1] == (size.height, size.width) != sizes[0]


def test_a_replay_is_the_same_however_it_is_cut(film: Film, tmp_path: Path, model: Model, settings: Settings) -> None:
    """Batches of one frame and of eight give the same bytes, and so does a second run."""
    file = film(tmp_path / "a.mp4", [("grey", 4), ("cyan", 5), ("grey", 3)])
    runs = []
    for size in (1, 8, 8):
        worker = settings.worker.model_copy(update={"batch_frames": size})
        sized = settings.model_copy(update={"worker": worker})
        running = Replay(model, fixed(model, RED), sized)
        runs.append(list(replay_files(running, model, sized, {"a": file})))
    assert runs[0] == runs[1] == runs[2] and runs[0]


@pytest.mark.parametrize(
    "beside",
    [
        None,
        encode_report(LabelReport("workers", "b" * 64, "tiny", "0.1.0", 0)),
        Message(b"config", b"garbage", partition=0),
    ],
    ids=["nothing", "a report", "garbage"],
)
def test_a_topic_is_replayed_with_the_labels_of_its_time(
    model: Model, settings: Settings, beside: Message | None
) -> None:
    """A stretch of the frames topic gives events under the set that was in force when it was written; what else lies
    in the control topic is no set, and does not stand for the next one.
    """
    times = iter(range(0, 10**6, 10))
    broker = InProcessBroker(now_ms=lambda: next(times))
    names = {name: settings.topics.name(name) for name in ("frames", "control")}  # type: ignore[arg-type]
    broker.ensure_topics([TopicSettings(names["frames"], 2), TopicSettings(names["control"], 1)], 1.0)
    producer = broker.producer()
    producer.send(names["control"], encode_control(ConfigLabels((Label("cyan", "cyan"),))))
    if beside is not None:
        producer.send(names["control"], beside)
    for tick in range(60):
        colour = "cyan" if 20 <= tick < 40 else "grey"
        picture = np.full((32, 32, 3), COLOURS[colour], np.uint8)
        record = FrameRecord(
            "door", 5, tick, tick, 4, tick_ns(tick, 4, "door"), "arrival", 32, 32, encode_jpeg(picture)
        )
        message = encode_stream_record(record)
        producer.send(names["frames"], Message(message.key, message.value, message.headers, 1))
    producer.send(names["frames"], Message(b"door", b"not a frame", (), 1))
    producer.send(names["control"], encode_control(ConfigLabels(())))
    control = list(read_all(broker, [Partition(names["control"], 0)]))
    label_views = LabelViews(model.embed, label_history(control))
    running = Replay(model, label_views, settings)
    events = list(replay_topic(running, model, broker, settings, control))
    assert [(one.label, one.phase) for one in events if one.phase != "updated"] == [
        ("cyan", "started"),
        ("cyan", "ended"),
    ]
    assert events[0].labels_version == 0 and events[0].evidence.partition == 1
    assert running.summary.bad_records == 1
    broker.close()


@pytest.mark.kafka
def test_a_replay_ends_when_the_broker_dies(tmp_path: Path, long_topic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is killed while a replay reads ends it with an error that names the topic, and not with silence."""
    decoded = 0

    def decode_first(record: Record, prepare: Any) -> Any:
        nonlocal decoded
        decoded += 1
        if decoded == 1:
            long_topic.node.kill()
        return decode(record, prepare)

    monkeypatch.setattr("pipeline.replay.replay.decode", decode_first)
    model = load_model(Settings(worker=WorkerSettings(bundle=str(tiny_bundle(tmp_path / "tiny")))))
    running = Replay(model, fixed(model, RED), long_topic.settings)

    with pytest.raises(BrokerTimeout, match=r"long\.frames: the broker sent nothing for 2 s.* then try again"):
        list(replay_topic(running, model, long_topic.broker, long_topic.settings, None))
    assert 0 < decoded < 100
