"""Actions taught by example while a worker runs: real Kafka, real processes, and the commands as people type them."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from engines.folders import cache_directory
from engines.testing import COLOURS, solid, tiny_bundle
from pipeline import child_process
from pipeline.analysis.ticks import tick_ns
from pipeline.broker import control_topic
from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of, read_all
from pipeline.config.reading import load
from pipeline.config.settings import Settings
from pipeline.errors import BrokerTimeout
from pipeline.examples.topic import examples_of
from pipeline.local.broker_node import BrokerNode
from pipeline.records.events import ActionEvent, decode_event, encode_event
from pipeline.records.examples import is_filler
from pipeline.records.frames import FrameRecord, LabelsMarker, decode_stream_record, encode_stream_record
from pipeline.records.jpeg import encode_jpeg
from pipeline.records.wire import Partition, Record
from pipeline.replay.replay import Replay, fixed, label_history, replay_topic
from pipeline.worker.label_views import LabelViews
from pipeline.worker.model import Model, load_model
from trainer.data.encode import encode_mp4

pytestmark = pytest.mark.kafka

CAMERAS = ("door", "yard", "gate", "hall")
JPEGS = {name: encode_jpeg(np.full((32, 32, 3), colour, np.uint8)) for name, colour in COLOURS.items()}
SCENES = ("grey",) * 8 + ("cyan",) * 10 + ("grey",) * 10 + ("yellow",) * 12 + ("grey",) * 8
FENCE = "over the fence"
"""Words that say nothing to the bundle; what is meant is yellow."""
_numbers = itertools.count(1)


@pytest.fixture
def settings(tmp_path: Path, broker_node: BrokerNode, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A deployment of its own on the shared broker."""
    monkeypatch.setenv("ACTIONWIRE_CONFIG", str(tmp_path / "actionwire.yaml"))
    document = {
        "kafka": {"bootstrap": broker_node.bootstrap},
        "topics": {"namespace": f"enrol-{os.getpid()}-{next(_numbers)}", "partitions": 4},
        "labels": ["cyan", "magenta"],
        "worker": {
            "bundle": str(bundle),
            "backend": "onnxruntime",
            "threads": 1,
            "start": "begin",
            "session_seconds": 6,
            "commit_seconds": 0.2,
            "overload": "queue",
        },
        "http": {"worker_port": None, "ingest_port": None},
    }
    (tmp_path / "actionwire.yaml").write_text(yaml.safe_dump(document))
    return load(tmp_path / "actionwire.yaml")


class Deployment:
    """A worker process, and what one does to it and reads of it."""

    def __init__(self, folder: Path, broker: Broker, settings: Settings) -> None:
        self.folder, self.broker, self.settings = folder, broker, settings
        self.log = folder / "worker.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.items = cache_directory() / "examples" / settings.topics.namespace
        """Where its workers keep what they made of examples."""

    def start(self) -> None:
        """Start the worker."""
        command = [sys.executable, "-m", "pipeline.cli", "worker", "--no-supervise", "--slot", "a"]
        with self.log.open("ab") as log:
            self.process = child_process.start(command, output=log)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it in order."""
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(20) == 0, self.log.read_text()[-3000:]

    def run(self, *arguments: str) -> str:
        """Run a command of ours; it must succeed."""
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *arguments], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def produce(self, ticks: Sequence[int]) -> None:
        """Publish these ticks of every camera."""
        producer = self.broker.producer()
        for tick in ticks:
            for place, camera in enumerate(CAMERAS):
                jpeg = JPEGS[SCENES[(tick + 9 * place) % len(SCENES)]]
                record = FrameRecord(camera, 1, tick, tick, 4, tick_ns(tick, 4, camera), "arrival", 32, 32, jpeg)
                producer.send(self.settings.topics.name("frames"), encode_stream_record(record))
        producer.flush(20)
        producer.close()

    def read(self, topic: Any) -> list[Record]:
        """Committed records of a topic, by partition and offset."""
        records = read_all(self.broker, partitions_of(self.broker, self.settings.topics.name(topic)))
        return sorted(records, key=lambda record: (record.partition, record.offset))

    def events(self) -> list[ActionEvent]:
        """What subscribers were told."""
        return [decode_event(record.value) for record in self.read("events")]

    def wait_until(self, done: Callable[[], object], seconds: float = 60) -> None:
        """Wait until something is so; fail with the end of the log when the worker ends or the time is over."""
        deadline = time.monotonic() + seconds
        while not done():
            assert self.process is None or self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def caught_up(self) -> bool:
        """True once every produced record was processed and committed."""
        try:
            lag = self.broker.lag(self.settings.worker.group, self.settings.topics.name("frames"), 5.0)
        except BrokerTimeout:
            return False
        return bool(lag) and not any(lag.values())

    def in_force(self) -> bool:
        """True once every partition was marked with the newest label set."""
        newest = control_topic.read(self.broker, self.settings.topics.name("control"), 10).version
        decoded = [(one, decode_stream_record(one.key, one.value, one.headers)) for one in self.read("frames")]
        marked = {one.partition for one, what in decoded if isinstance(what, LabelsMarker) and what.version == newest}
        return len(marked) == self.settings.topics.partitions

    @contextmanager
    def model(self) -> Iterator[Model]:
        """The bundle of the settings, with the examples of this deployment."""
        model = load_model(self.settings, examples=examples_of(self.broker, self.settings))
        yield model
        model.close()

    def replayed(self) -> list[ActionEvent]:
        """What a replay of the frames topic says: the run in which nothing went wrong."""
        with self.model() as model:
            control = list(read_all(self.broker, [Partition(self.settings.topics.name("control"), 0)]))
            replay = Replay(model, LabelViews(model.embed, label_history(control)), self.settings)
            return list(replay_topic(replay, model, self.broker, self.settings, control))

    def replayed_without(self) -> list[ActionEvent]:
        """The same with the labels of the settings alone, as if nobody had ever enrolled anything."""
        settings = self.settings
        with self.model() as model:
            first = next(iter(label_sets(self.broker, settings)))
            replay = Replay(model, fixed(model, first), settings)
            return list(replay_topic(replay, model, self.broker, settings, None))


def label_sets(broker: Broker, settings: Settings) -> Iterator[Any]:
    """The first set that was in force."""
    control = list(read_all(broker, [Partition(settings.topics.name("control"), 0)]))
    yield label_history(control)(0)


@pytest.fixture
def deployment(tmp_path: Path, broker: Broker, settings: Settings) -> Iterator[Deployment]:
    """A deployment whose worker, if it still runs, is killed at the end."""
    made = Deployment(tmp_path, broker, settings)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()
    shutil.rmtree(made.items, ignore_errors=True)


def clip(path: Path, colour: str, seconds: float) -> Path:
    """A clip of one colour at ten pictures a second."""
    frame = solid(colour, height=64, width=64)
    encode_mp4([frame] * round(10 * seconds), path, 10)
    return path


def wire(event: ActionEvent, settings: Settings) -> bytes:
    """The bytes of an event."""
    return encode_event(event, settings.source).value or b""


def but_for_the_set(events: Sequence[ActionEvent], label: str) -> list[dict[str, Any]]:
    """The events of a label by camera, without the number of the label set, which enrolment changes by its nature."""
    documents = [json.loads(wire(event, Settings())) for event in events if event.label_id == label]
    kept = [{name: value for name, value in one.items() if name != "labels_version"} for one in documents]
    return sorted(kept, key=lambda one: (one["camera"], one["start_tick"], one["sequence"]))


def test_an_action_is_taught_in_mid_stream_found_and_forgotten(deployment: Deployment) -> None:
    """From five clips; other labels' events stay as they are to the byte, and after removal no pixel stays anywhere.

    produced   |---- 60 ticks ----|          |---- 72 ticks, then yellow ----|            |--- 28 ---|
    labels     cyan, magenta        enrol     the fence as well                remove      cyan, magenta
    """
    deployment.start()
    deployment.produce(range(60))
    deployment.wait_until(deployment.caught_up)
    assert {event.label_id for event in deployment.events()} == {"cyan"}
    clips = [clip(deployment.folder / f"{number}.mp4", "yellow", 1.5 + number / 2) for number in range(5)]

    said = deployment.run("enrol", FENCE, *(part for one in clips for part in ("--clip", str(one))))

    assert "5 examples more" in said
    deployment.wait_until(deployment.in_force)
    deployment.produce(range(60, 132))
    deployment.wait_until(deployment.caught_up)
    found = deployment.events()
    taught = [event for event in found if event.label_id == "over-the-fence"]
    assert {event.camera for event in taught} == set(CAMERAS) and all(event.start_tick >= 60 for event in taught)
    still_open = {one.id for one in taught} - {one.id for one in taught if one.phase == "ended"}
    assert still_open  # a camera shows yellow at the end
    assert [wire(one, deployment.settings) for one in found] == [
        wire(one, deployment.settings) for one in deployment.replayed()
    ]

    assert len(list(deployment.items.glob("*/*.npy"))) == 5
    deployment.run("enrol", "remove", FENCE)
    deployment.wait_until(deployment.in_force)
    deployment.produce(range(132, 160))
    deployment.wait_until(deployment.caught_up)
    ended = {event.id: event for event in deployment.events() if event.phase == "ended"}
    assert all(ended[one].reason == "label" for one in still_open)
    assert {one.id for one in deployment.events()} >= ended.keys()
    assert but_for_the_set(deployment.events(), "cyan") == but_for_the_set(deployment.replayed_without(), "cyan")
    deployment.wait_until(lambda: not list(deployment.items.glob("*/*")))
    # Whatever the broker still sends to somebody who reads the topic from its beginning.
    deployment.wait_until(
        lambda: not [one for one in deployment.read("examples") if one.value and not is_filler(one.key)]
    )
    deployment.stop()


def test_what_was_taught_survives_kills_and_a_bundle_of_another_space(
    deployment: Deployment, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is killed, and a bundle whose space is another takes over: it encodes the pictures itself.

    produced   |--- 60 ---|    |--- 40 ---|         |--- 60 ---|
    worker     |== enrol ===|SIGKILL  |=== swap ====|==========|
    """
    monkeypatch.setenv("ACTIONWIRE_STORE", str(deployment.folder / "store"))
    publish(bundle)
    document = yaml.safe_load((deployment.folder / "actionwire.yaml").read_text())
    document["worker"]["bundle"] = "tiny"
    (deployment.folder / "actionwire.yaml").write_text(yaml.safe_dump(document))
    deployment.start()
    deployment.produce(range(10))
    deployment.wait_until(deployment.caught_up)
    deployment.run("enrol", FENCE, "--clip", str(clip(deployment.folder / "it.mp4", "yellow", 2.0)))
    deployment.wait_until(deployment.in_force)
    deployment.produce(range(10, 60))
    deployment.wait_until(lambda: "over-the-fence" in {event.label_id for event in deployment.events()})
    deployment.kill()
    deployment.produce(range(60, 100))
    deployment.start()
    deployment.wait_until(deployment.caught_up)
    publish(tiny_bundle(deployment.folder / "other", frames=4, seed=7, version="0.2.0"))
    deployment.wait_until(lambda: "engine swapped" in deployment.log.read_text())
    deployment.produce(range(100, 160))
    deployment.wait_until(deployment.caught_up)
    deployment.stop()
    found = deployment.events()
    assert len({event.model.space for event in found}) == 2
    assert len({event.message_id for event in found}) == len(found)
    undisturbed = deployment.replayed()
    assert spans(found) == spans(undisturbed)
    assert len(list(deployment.items.glob("*/*.npy"))) == 2  # one for each space


def spans(events: Sequence[ActionEvent]) -> list[tuple[Any, ...]]:
    """Which events began and ended when; scores of another space differ behind the comma."""
    kept = [one for one in events if one.phase != "updated"]
    return sorted(
        (one.camera, one.label_id, one.phase, one.start_tick, one.end_tick or 0, one.reason or "") for one in kept
    )


def publish(bundle: Path) -> None:
    """Run the command that makes a bundle current."""
    subprocess.run([sys.executable, "-m", "engines.cli", "publish", str(bundle)], check=True, capture_output=True)
