"""The worker as a process, on a real Apache Kafka: what is produced becomes events, whatever is killed on the way."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

from engines.testing import COLOURS, tiny_bundle
from pipeline import child_process
from pipeline.analysis.ticks import tick_ns
from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of, read_all
from pipeline.config.reading import load
from pipeline.config.settings import Settings
from pipeline.errors import BrokerTimeout
from pipeline.local.broker_node import BrokerNode
from pipeline.local.ports import free_port
from pipeline.records.events import ActionEvent, decode_event, encode_event
from pipeline.records.frames import FrameRecord, encode_stream_record
from pipeline.records.jpeg import encode_jpeg
from pipeline.records.wire import Partition, Record
from pipeline.replay.replay import Replay, label_history, replay_topic
from pipeline.worker.label_views import LabelViews
from pipeline.worker.model import load_model

pytestmark = pytest.mark.kafka

CAMERAS = ("door", "yard", "gate", "hall")
JPEGS = {name: encode_jpeg(np.full((32, 32, 3), colour, np.uint8)) for name, colour in COLOURS.items()}
SCENES = ("grey",) * 8 + ("cyan",) * 14 + ("grey",) * 14 + ("magenta",) * 12
_numbers = itertools.count(1)


@pytest.fixture
def settings(tmp_path: Path, broker_node: BrokerNode, bundle: Path) -> Settings:
    """A deployment of its own on the shared broker; the file is `actionwire.yaml` in the test's folder."""
    document = {
        "kafka": {"bootstrap": broker_node.bootstrap},
        "topics": {"namespace": f"e2e-{os.getpid()}-{next(_numbers)}", "partitions": 4},
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


def start(tmp_path: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a worker process; its log lies in the test's folder."""
    command = [sys.executable, "-m", "pipeline.cli", "worker", "--config", str(tmp_path / "actionwire.yaml"), *options]
    with (tmp_path / "worker.log").open("ab") as log:
        return child_process.start(command, output=log)


def produce(broker: Broker, settings: Settings, ticks: Sequence[int]) -> None:
    """Publish these ticks of every camera."""
    producer = broker.producer()
    for tick in ticks:
        for place, camera in enumerate(CAMERAS):
            colour = SCENES[(tick + 3 * place) % len(SCENES)]
            record = FrameRecord(camera, 1, tick, tick, 4, tick_ns(tick, 4, camera), "arrival", 32, 32, JPEGS[colour])
            producer.send(settings.topics.name("frames"), encode_stream_record(record))
    producer.flush(20)
    producer.close()


def read(broker: Broker, topic: str) -> list[Record]:
    """Committed records of a topic, by partition and offset."""
    records = read_all(broker, partitions_of(broker, topic))
    return sorted(records, key=lambda record: (record.partition, record.offset))


def wait_until(done: Callable[[], object], process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    """Wait until something is so; fail with the end of the log when the process ends or the time is over."""
    deadline = time.monotonic() + seconds
    while not done():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.1)


def wait_until_caught_up(broker: Broker, settings: Settings, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until every produced record was processed and committed."""

    def caught_up() -> bool:
        try:
            lag = broker.lag(settings.worker.group, settings.topics.name("frames"), 5.0)
        except BrokerTimeout:
            return False
        return bool(lag) and not any(lag.values())

    wait_until(caught_up, process, log)


def expected(broker: Broker, settings: Settings) -> list[bytes | None]:
    """What a replay of the frames topic says, by partition: the run in which nothing went wrong."""
    model = load_model(settings)
    control = list(read_all(broker, [Partition(settings.topics.name("control"), 0)]))
    label_views = LabelViews(model.embed, label_history(control))
    events: list[ActionEvent] = list(
        replay_topic(Replay(model, label_views, settings), model, broker, settings, control)
    )
    model.close()
    return [encode_event(event, settings.source).value for event in events]


def test_killed_workers_lose_and_double_nothing(tmp_path: Path, broker: Broker, settings: Settings) -> None:
    """A worker is killed in the middle, another takes its place; subscribers see each event of a replay exactly once.

    produced   |------ first half ------|------ second half ------|
    worker     |==== SIGKILL   |=== SIGKILL, away |===============| SIGTERM
    """
    log = tmp_path / "worker.log"
    process = start(tmp_path, "--no-supervise", "--slot", "a")
    produce(broker, settings, range(40))
    wait_until(lambda: read(broker, settings.topics.name("events")), process, log)
    process.kill()
    process.wait()
    told = len(read(broker, settings.topics.name("events")))
    process = start(tmp_path, "--no-supervise", "--slot", "a")
    produce(broker, settings, range(40, 90))
    wait_until(lambda: len(read(broker, settings.topics.name("events"))) > told, process, log)
    process.kill()
    process.wait()
    produce(broker, settings, range(90, 140))
    process = start(tmp_path, "--no-supervise", "--slot", "a")
    wait_until_caught_up(broker, settings, process, log)
    process.terminate()
    assert process.wait(20) == 0
    found = read(broker, settings.topics.name("events"))
    events = [decode_event(record.value) for record in found]
    assert len({event.message_id for event in events}) == len(events)
    assert [record.value for record in found] == expected(broker, settings)
    assert {event.camera for event in events} == set(CAMERAS) and len(events) > 20


def test_a_killed_worker_rebuilds_the_memory_of_a_causal_model(
    tmp_path: Path, broker: Broker, settings: Settings
) -> None:
    """Its items depend on the frames before a window. No state holds them, and no event tells of the kill.

    produced   |------ first half ------|------ second half ------|
    worker     |==== SIGKILL                          |===========| SIGTERM
    """
    remembering = tiny_bundle(tmp_path / "remembering", frames=4, history=5)
    change(tmp_path, worker={"bundle": str(remembering)})
    settings, log = load(tmp_path / "actionwire.yaml"), tmp_path / "worker.log"
    process = start(tmp_path, "--no-supervise", "--slot", "a")
    produce(broker, settings, range(30))
    wait_until(lambda: read(broker, settings.topics.name("events")), process, log)
    process.kill()
    process.wait()
    produce(broker, settings, range(30, 75))
    process = start(tmp_path, "--no-supervise", "--slot", "a")
    wait_until_caught_up(broker, settings, process, log)
    process.terminate()
    assert process.wait(20) == 0
    found = [record.value for record in read(broker, settings.topics.name("events"))]
    assert found == expected(broker, settings)
    assert len(found) > 8 and {decode_event(value).camera for value in found} == set(CAMERAS)


def test_a_published_bundle_is_taken_up_by_a_worker_that_runs(
    tmp_path: Path, broker: Broker, settings: Settings, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`actionwire-engines publish` beside a worker: not one event is lost, doubled or otherwise than without it.

    produced   |------ first half ------|          |------ second half ------|
    current    0.1.0                       | 0.2.0
    """
    monkeypatch.setenv("ACTIONWIRE_STORE", str(tmp_path / "store"))
    successor = tiny_bundle(tmp_path / "successor", frames=4, version="0.2.0")
    publish(bundle)
    port = free_port()
    change(tmp_path, worker={"bundle": "tiny"}, http={"worker_port": port})
    log = tmp_path / "worker.log"
    process = start(tmp_path, "--no-supervise", "--slot", "a")
    produce(broker, settings, range(70))
    wait_until_caught_up(broker, settings, process, log)
    publish(successor)
    wait_until(lambda: 'actionwire_swaps_total{outcome="taken"} 1.0' in _scraped(port), process, log)
    produce(broker, settings, range(70, 140))
    wait_until_caught_up(broker, settings, process, log)
    process.terminate()
    assert process.wait(20) == 0
    found = [json.loads(record.value or b"") for record in read(broker, settings.topics.name("events"))]
    assert {one["model"]["version"] for one in found} == {"0.1.0", "0.2.0"}
    uninterrupted = [json.loads(value or b"") for value in expected(broker, settings)]
    assert [_but_for_the_model(one) for one in found] == [_but_for_the_model(one) for one in uninterrupted]


def publish(bundle: Path) -> None:
    """Run the command that makes a bundle current."""
    subprocess.run([sys.executable, "-m", "engines.cli", "publish", str(bundle)], check=True, capture_output=True)


def change(tmp_path: Path, **sections: dict[str, object]) -> None:
    """Change settings in the file that worker processes read."""
    document = yaml.safe_load((tmp_path / "actionwire.yaml").read_text())
    for section, values in sections.items():
        document[section] |= values
    (tmp_path / "actionwire.yaml").write_text(yaml.safe_dump(document))


def _but_for_the_model(event: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in event.items() if name not in ("model", "started_by")}


def _scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def test_a_killed_child_is_started_again(tmp_path: Path, broker: Broker, settings: Settings) -> None:
    """The command's parent process starts its child again after SIGKILL, and ends it when it is told to stop."""
    port = free_port()
    change(tmp_path, http={"worker_port": port})
    process = start(tmp_path)
    try:
        wait_until(lambda: _ready(port), process, tmp_path / "worker.log")
        first = _children(process.pid)
        os.kill(first[0], signal.SIGKILL)
        wait_until(lambda: _children(process.pid) not in ([], first), process, tmp_path / "worker.log", 30)
        wait_until(lambda: _ready(port), process, tmp_path / "worker.log")
    finally:
        process.terminate()
    assert process.wait(30) == 0 and not _children(process.pid)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=2) as answer:
            assert answer.status == 200
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(one) for one in task.read_text().split()]
    return found
