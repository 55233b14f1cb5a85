"""A candidate beside the bundle in use: what it would say is written aside, and nothing else changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.bundle.files import Events, load
from engines.bundle.store import publish
from engines.testing import COLOURS, tiny_bundle
from pipeline.analysis.ticks import tick_ns
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.reading import read_all
from pipeline.broker.topics import apply_topics
from pipeline.config.http import HttpSettings
from pipeline.config.labels import LabelSettings
from pipeline.config.settings import Settings
from pipeline.config.topics import TopicsSettings
from pipeline.config.worker import WorkerSettings
from pipeline.errors import ConfigurationError
from pipeline.records.events import ActionEvent, decode_event
from pipeline.records.frames import FrameRecord, encode_stream_record
from pipeline.records.jpeg import encode_jpeg
from pipeline.records.wire import Message, Partition, Record
from pipeline.replay.difference import difference
from pipeline.worker import label_sync, poll_thread
from pipeline.worker.process import run_worker
from pipeline.worker.shadow.broker import shadow_broker
from pipeline.worker.shadow.settings import in_share, shadow_settings

CAMERAS = ("door", "yard", "roof", "gate")
SCENES = [("grey", 12), ("cyan", 16), ("grey", 16)]
JPEGS = {name: encode_jpeg(np.full((32, 32, 3), colour, np.uint8)) for name, colour in COLOURS.items()}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle threads check more often. No result depends on how often, and no test waits for it."""
    monkeypatch.setattr(poll_thread, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(label_sync, "FOLLOW_SECONDS", 0.02)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A deployment that watches for cyan; the candidate is the same model with a threshold that nothing reaches."""
    monkeypatch.setenv("ACTIONWIRE_STORE", str(tmp_path / "store"))
    stable = tiny_bundle(tmp_path / "stable", frames=4)
    publish(tmp_path / "store", stable)
    defaults = load(stable).manifest.events.defaults.model_copy(update={"enter": 1.0, "exit": 1.0})
    candidate = tiny_bundle(tmp_path / "candidate", frames=4, version="0.2.0", events=Events(defaults=defaults))
    publish(tmp_path / "store", candidate, "candidate")
    return Settings(
        topics=TopicsSettings(namespace="test", partitions=2),
        labels=(LabelSettings(text="cyan"),),
        worker=WorkerSettings(
            bundle="tiny",
            shadow="candidate",
            backend="onnxruntime",
            threads=1,
            start="begin",
            commit_seconds=0.05,
            batch_milliseconds=2,
        ),
        http=HttpSettings(worker_port=None),
    )


@pytest.fixture
def broker(settings: Settings) -> Iterator[InProcessBroker]:
    """A broker with the topics of the deployment, on which four cameras show cyan for four seconds."""
    broker = InProcessBroker()
    apply_topics(broker, settings)
    producer = broker.producer()
    for number, camera in enumerate(CAMERAS):
        shown = [colour for colour, count in SCENES for _ in range(count)]
        for tick, colour in enumerate(shown):
            jpeg = JPEGS[colour]
            record = FrameRecord(camera, 1, tick, tick, 4, tick_ns(tick, 4, camera), "arrival", 32, 32, jpeg)
            message = encode_stream_record(record)
            producer.send("test.frames", Message(message.key, message.value, message.headers, number % 2))
    yield broker
    broker.close()


def records(broker: InProcessBroker, topic: str) -> list[Record]:
    """Everything committed on a topic of two partitions."""
    return list(read_all(broker, [Partition(topic, number) for number in range(2)]))


def events(broker: InProcessBroker, topic: str) -> list[ActionEvent]:
    """The events of a topic."""
    return [decode_event(record.value or b"") for record in records(broker, topic)]


@contextmanager
def running(settings: Settings, broker: Any) -> Iterator[None]:
    """A worker on a thread of its own."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def body() -> None:
        try:
            run_worker(settings, broker, stop=stop)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
    assert failed == []


def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds, half a minute at most."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def caught_up(broker: InProcessBroker, group: str) -> bool:
    """Whether the group has processed every record."""
    lag = broker.lag(group, "test.frames", 5.0)
    return bool(lag) and not any(lag.values())


def test_a_shadow_writes_aside(broker: InProcessBroker, settings: Settings) -> None:
    """Both score the same frames. The events of the deployment are those of the bundle in use, and no marker, label set
    or report is the shadow's.
    """
    shadow = shadow_settings(settings)
    apply_topics(broker, shadow)
    with running(settings, broker):
        until(lambda: caught_up(broker, settings.worker.group))
        before = {topic: len(records(broker, topic)) for topic in ("test.frames", "test.events", "test.state")}
        with running(shadow, shadow_broker(broker, 1.0)):
            until(lambda: caught_up(broker, shadow.worker.group))
        assert {topic: len(records(broker, topic)) for topic in before} == before
    control = read_all(broker, [Partition("test.control", 0)])
    assert not [record for record in control if b"shadow" in (record.key or b"")]
    found = difference(events(broker, "test.events"), events(broker, "test.shadow-events"))
    assert (len(found.gone), len(found.new), len(found.same)) == (len(CAMERAS), 0, 0)
    assert {record.key for record in records(broker, "test.shadow-state")} == {one.encode() for one in CAMERAS}


def test_a_shadow_looks_at_its_share(broker: InProcessBroker, settings: Settings) -> None:
    """The other cameras' frames are passed over, and their bundle is the same, so it tells the same of its own."""
    worker = settings.worker.model_copy(update={"shadow": "stable"})
    shadow = shadow_settings(settings.model_copy(update={"worker": worker}))
    apply_topics(broker, shadow)
    seen = {camera for camera in CAMERAS if in_share(camera, 0.5)}
    assert 0 < len(seen) < len(CAMERAS)
    with running(settings, broker):
        until(lambda: caught_up(broker, settings.worker.group))
    with running(shadow, shadow_broker(broker, 0.5)):
        until(lambda: {one.camera for one in events(broker, "test.shadow-events") if one.phase == "ended"} == seen)
    mine = [event for event in events(broker, "test.events") if event.camera in seen]
    found = difference(mine, events(broker, "test.shadow-events"))
    assert not found.changed and len(found.same) == len(seen)


def test_a_shadow_has_a_place_of_its_own(settings: Settings) -> None:
    """Bundle, group, slot and topics; what it reads, and everything else, is the deployment's."""
    slotted = settings.model_copy(update={"worker": settings.worker.model_copy(update={"slot": "a"})})
    shadow = shadow_settings(slotted)
    assert (shadow.worker.bundle, shadow.worker.slot) == ("tiny:candidate", "a-shadow")
    assert shadow.worker.group == f"{settings.worker.group}-shadow" and not shadow.names_labels
    assert slotted.names_labels and slotted.topics.name("events") == "test.events"
    names = [shadow.topics.name(topic) for topic in ("frames", "cameras", "control", "events", "state", "dead")]  # type: ignore[arg-type]
    assert names == [
        "test.frames",
        "test.cameras",
        "test.control",
        "test.shadow-events",
        "test.shadow-state",
        "test.shadow-dead",
    ]


@pytest.mark.parametrize(
    ("worker", "words"),
    [
        ({"shadow": None}, "let worker.shadow name the channel"),
        ({"bundle": "tiny@0.1.0"}, "only a name of the store has channels"),
    ],
)
def test_settings_without_a_candidate_are_refused(settings: Settings, worker: dict[str, Any], words: str) -> None:
    """With what to set."""
    with pytest.raises(ConfigurationError, match=words):
        shadow_settings(settings.model_copy(update={"worker": settings.worker.model_copy(update=worker)}))


def test_a_share_grows_by_cameras() -> None:
    """Every camera of a smaller share is one of a larger: what was learnt stays true."""
    cameras = [f"camera-{number}" for number in range(1000)]
    shares = [{camera for camera in cameras if in_share(camera, share)} for share in (0.1, 0.5, 1.0)]
    assert shares[0] < shares[1] < shares[2] == set(cameras)
    assert 60 < len(shares[0]) < 140
