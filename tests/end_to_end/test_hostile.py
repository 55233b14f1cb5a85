"""Strangers write to every topic while a worker is stopped, killed and started again, on a real Apache Kafka.

`pytest tests/end_to_end/test_hostile.py --hostile 10000 -s` runs it at ten times its size and shows its figures.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import hostile_records as strangers
import numpy as np
import pytest
import yaml
from kafka import KafkaProducer

from engines.testing import COLOURS, tiny_bundle
from pipeline import child_process
from pipeline.broker import connect
from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of, read_all
from pipeline.broker.topics import apply_topics
from pipeline.config.reading import load
from pipeline.config.settings import Settings
from pipeline.errors import BadRecordError, TransientError
from pipeline.ingest.other_publishers import OtherPublishers
from pipeline.local.broker_node import BrokerNode
from pipeline.local.ports import free_port
from pipeline.records.events import ActionEvent, decode_event, encode_event
from pipeline.records.frames import FrameRecord, decode_stream_record
from pipeline.records.jpeg import encode_jpeg
from pipeline.records.wire import Message, Partition, Record
from pipeline.replay.replay import Replay, label_history, replay_topic
from pipeline.worker.label_views import LabelViews
from pipeline.worker.model import load_model

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(1500)]

CAMERAS = ("door", "yard", "gate", "hall")
"""Each in the partition of its place."""
JPEGS = {name: encode_jpeg(np.full((32, 32, 3), colour, np.uint8)) for name, colour in COLOURS.items()}
SCENES = ("grey",) * 8 + ("cyan",) * 14 + ("grey",) * 14 + ("magenta",) * 12
MOST_MEGABYTES = 700
"""Memory of a worker at any moment; one picture of 16000 x 16000 is 768."""
_numbers = itertools.count(1)


@dataclass
class Sent:
    """What was published to the frames topic, by partition and offset."""

    fates: dict[tuple[int, int], strangers.Fate | str] = field(default_factory=dict)

    def counts(self) -> Counter[str]:
        """How many records of each fate."""
        return Counter(self.fates.values())


class Publisher:
    """A program of somebody else, which sends anything."""

    def __init__(self, node: BrokerNode) -> None:
        self._client = KafkaProducer(
            bootstrap_servers=node.bootstrap, acks="all", max_in_flight_requests_per_connection=1, linger_ms=5
        )

    def send(self, topic: str, messages: Iterable[Message], partition: Callable[[int], int] = lambda _: 0) -> None:
        """Send them in order."""
        for number, one in enumerate(messages):
            self._client.send(topic, one.value, key=one.key, headers=list(one.headers), partition=partition(number))
        self._client.flush(60)

    def send_frames(self, topic: str, records: Sequence[tuple[int, strangers.Hostile]], sent: Sent) -> None:
        """Send records of the frames topic; what no client can decode goes in a batch of its own."""
        futures = []
        for partition, one in records:
            message = one.message
            if alone := one.fate == "undecodable":
                self._client.flush(60)
            futures.append(
                self._client.send(
                    topic, message.value, key=message.key, headers=list(message.headers), partition=partition
                )
            )
            if alone:
                self._client.flush(60)
        self._client.flush(60)
        for (partition, one), future in zip(records, futures, strict=True):
            sent.fates[partition, future.get(60).offset] = one.fate

    def close(self) -> None:
        """Release the connection."""
        self._client.close()


def mixture(random: Random, count: int) -> list[tuple[int, strangers.Hostile]]:
    """`count` hostile records among 0.3 times as many frames of four cameras, with the partition of each."""
    due = [place for place in range(4) for _ in range(count * 3 // 40)]
    order: list[int | None] = [*due, *[None] * count]
    random.shuffle(order)
    ticks = [0] * 4
    made: list[tuple[int, strangers.Hostile]] = []
    for number, place in enumerate(order):
        if place is None:
            at = random.randrange(4)
            made.append((at, strangers.hostile(random, number, CAMERAS[at], ticks[at])))
            continue
        jpeg = JPEGS[SCENES[(ticks[place] + 3 * place) % len(SCENES)]]
        made.append((place, strangers.Hostile(strangers.frame(CAMERAS[place], ticks[place], jpeg), "encoded")))
        ticks[place] += 1
    return made


def valid_only(records: Iterable[tuple[int, strangers.Hostile]]) -> list[tuple[int, strangers.Hostile]]:
    """The frames of the watched cameras that count."""
    watched = {name.encode() for name in CAMERAS}
    return [(place, one) for place, one in records if one.fate == "encoded" and one.message.key in watched]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that knows colours."""
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny", frames=4)


def deployment(folder: Path, node: BrokerNode, bundle: Path, port: int) -> Settings:
    """Settings of a deployment of its own, and its topics."""
    folder.mkdir()
    document = {
        "kafka": {"bootstrap": node.bootstrap},
        "topics": {"namespace": f"hostile-{os.getpid()}-{next(_numbers)}", "partitions": 4},
        "labels": ["cyan", "magenta"],
        "worker": {
            "bundle": str(bundle),
            "backend": "onnxruntime",
            "threads": 1,
            "start": "begin",
            "session_seconds": 6,
            "commit_seconds": 0.2,
            "overload": "queue",
            "lost_seconds": 3600,
        },
        "http": {"worker_port": port, "ingest_port": None},
    }
    (folder / "actionwire.yaml").write_text(yaml.safe_dump(document))
    return load(folder / "actionwire.yaml")


@dataclass
class Run:
    """A worker that is started again and again, in a folder of its own."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    most_megabytes: float = 0.0

    @property
    def log(self) -> str:
        """What all of its lives said."""
        return (self.folder / "worker.log").read_text(errors="replace")

    def start(self) -> None:
        """Begin a life; nobody starts it again but this test."""
        settings = str(self.folder / "actionwire.yaml")
        command = [
            sys.executable,
            "-m",
            "pipeline.cli",
            "worker",
            "--config",
            settings,
            "--no-supervise",
            "--slot",
            "a",
        ]
        with (self.folder / "worker.log").open("ab") as output:
            self.process = child_process.start(command, output=output)

    def look(self) -> None:
        """It lives, and its memory is noted."""
        assert self.process is not None and self.process.poll() is None, self.log[-3000:]
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        self.most_megabytes = max(self.most_megabytes, int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024)

    def wait_until(self, done: Callable[[], object], seconds: float = 600) -> None:
        """Wait until something is so, while the worker lives."""
        deadline = time.monotonic() + seconds
        while not done():
            self.look()
            assert time.monotonic() < deadline, self.log[-3000:]
            time.sleep(0.1)

    def stop(self) -> None:
        """End it in order."""
        assert self.process is not None
        self.look()
        self.process.terminate()
        assert self.process.wait(60) == 0, self.log[-3000:]

    def kill(self) -> None:
        """End it at once."""
        assert self.process is not None
        self.look()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """End whatever life there is."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def metric(self, name: str) -> dict[str, float]:
        """Values of a metric by its labels, as they are scraped."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                lines = answer.read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return {}
        found = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", lines, re.MULTILINE)
        return {",".join(re.findall(r'"(.*?)"', labels)): float(value) for labels, value in found}


def caught_up(broker: Broker, settings: Settings) -> bool:
    """Everything was processed and committed."""
    try:
        lag = broker.lag(settings.worker.group, settings.topics.name("frames"), 5.0)
    except TransientError:
        return False
    return bool(lag) and not any(lag.values())


def read(broker: Broker, topic: str) -> list[Record]:
    """Committed records of a topic, by partition and offset."""
    found = read_all(broker, partitions_of(broker, topic), 60)
    return sorted(found, key=lambda record: (record.partition, record.offset))


def events_of(values: Iterable[bytes | None], frames: Iterable[Record]) -> list[dict[str, Any]]:
    """Events of the watched cameras, by camera; their evidence is taken as ticks, since offsets differ between runs."""
    ticks: dict[tuple[int, int], int] = {}
    for record in frames:
        try:
            content = decode_stream_record(record.key, record.value, record.headers)
        except BadRecordError:
            continue
        if isinstance(content, FrameRecord):
            ticks[record.partition, record.offset] = content.tick
    found: list[dict[str, Any]] = []
    for value in values:
        try:
            event: ActionEvent = decode_event(value)
        except BadRecordError:
            continue
        if event.camera in CAMERAS:
            document = json.loads(value or b"")
            evidence = document.pop("evidence")
            del document["labels_version"]  # an offset of the control topic, to which strangers wrote
            seen = [ticks[evidence["partition"], evidence[name]] for name in ("first_offset", "last_offset")]
            found.append({**document, "ticks": seen})
    return sorted(found, key=lambda one: (CAMERAS.index(one["camera"]), one["time"], one["id"], one["sequence"]))


def clean_run(
    folder: Path, node: BrokerNode, bundle: Path, records: Sequence[tuple[int, strangers.Hostile]]
) -> list[dict[str, Any]]:
    """Events of the same frames in the same partitions, when nobody else writes."""
    settings = deployment(folder, node, bundle, 0)
    broker = connect(settings.kafka)
    apply_topics(broker, settings)
    publisher = Publisher(node)
    publisher.send_frames(settings.topics.name("frames"), valid_only(records), Sent())
    publisher.close()
    subprocess.run([*COMMAND, "labels", "apply", str(folder / "actionwire.yaml"), *_options(folder)], check=True)
    model = load_model(settings)
    control = list(read_all(broker, [Partition(settings.topics.name("control"), 0)]))
    label_views = LabelViews(model.embed, label_history(control))
    replayed = replay_topic(Replay(model, label_views, settings), model, broker, settings, control)
    values = [encode_event(event, settings.source).value for event in replayed]
    found = events_of(values, read(broker, settings.topics.name("frames")))
    model.close()
    broker.close()
    return found


COMMAND = [sys.executable, "-m", "pipeline.cli"]


def _options(folder: Path) -> list[str]:
    return ["--config", str(folder / "actionwire.yaml")]


def commands_answer(folder: Path) -> None:
    """Every command that shows what strangers wrote ends with 0 and without a traceback, to a terminal of any kind."""
    looks = (["status"], ["status", "--json"], ["labels", "list"], ["labels", "list", "--json"])
    events = (["watch", "--begin", "--until-end"], ["watch", "--begin", "--until-end", "--json", "--label", "cyan"])
    for arguments in (*looks, *events):
        done = subprocess.run(
            [*COMMAND, *arguments, *_options(folder)],
            capture_output=True,
            timeout=120,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )
        assert done.returncode == 0 and b"Traceback" not in done.stderr, (arguments, done.stderr[-3000:])


def test_strangers_change_nothing(
    tmp_path: Path, broker_node: BrokerNode, bundle: Path, request: pytest.FixtureRequest
) -> None:
    """No process ends, events are those of the clean run, every frame is accounted for, every bad record is dead once.

    frames     |------------ 70 % ------------|-- 15 % --|-------- 15 % --------|
    worker     |==============================|  away    |======= SIGKILL ======|
    others     |control, state, cameras|                 |control, state        |events|
    """
    count, random, began = request.config.getoption("--hostile"), Random(1), time.monotonic()
    run = Run(tmp_path / "run", free_port())
    settings = deployment(run.folder, broker_node, bundle, run.port)
    broker, publisher, sent = connect(settings.kafka), Publisher(broker_node), Sent()
    request.addfinalizer(broker.close)
    request.addfinalizer(publisher.close)
    request.addfinalizer(run.end)
    apply_topics(broker, settings)
    name = settings.topics.name
    records = mixture(random, count)
    first, second = round(len(records) * 0.70), round(len(records) * 0.85)

    def publish(part: Sequence[tuple[int, strangers.Hostile]]) -> None:
        publisher.send_frames(name("frames"), part, sent)

    def disturb() -> None:
        publisher.send(name("control"), strangers.control_records(random, count // 50))
        publisher.send(name("state"), strangers.state_records(random, count // 20), lambda number: number % 4)
        publisher.send(name("cameras"), strangers.status_records(random, count // 50))

    disturb()
    run.start()
    publish(records[:first])
    run.wait_until(lambda: caught_up(broker, settings))
    frames, dropped = run.metric("actionwire_frames_total"), run.metric("actionwire_dropped_total")
    run.stop()
    due = sent.counts()
    assert frames == {"": due["encoded"]}, (frames, dropped, due)
    assert dropped["bad_record"] == due["dead"] and dropped["undecodable"] == due["undecodable"], (dropped, due)
    assert sum(dropped[reason] for reason in ("late", "duplicate", "superseded")) == due["old"], (dropped, due)
    assert sum(dropped.values()) == due["dead"] + due["undecodable"] + due["old"], (dropped, due)

    publish(records[first:second])
    disturb()
    run.start()
    half = (second + len(records)) // 2
    publish(records[second:half])
    told = len(read(broker, name("dead")))
    run.wait_until(lambda: len(read(broker, name("dead"))) > told or caught_up(broker, settings))
    run.kill()
    publish(records[half:])
    run.start()
    run.wait_until(lambda: caught_up(broker, settings))
    run.stop()

    found = read(broker, name("events"))
    ids = [dict(record.headers)["ce_id"] for record in found]
    assert len(set(ids)) == len(ids), "none comes twice"
    published = read(broker, name("frames"))
    got = events_of((record.value for record in found), published)
    clean = clean_run(tmp_path / "clean", broker_node, bundle, records)
    assert got == clean and {one["camera"] for one in got} == set(CAMERAS) and len(got) > count // 50
    letters = [dict(record.headers) for record in read(broker, name("dead"))]
    origins = Counter((int(one["partition"]), int(one["offset"])) for one in letters)
    assert origins == Counter(place for place, fate in sent.fates.items() if fate == "dead")

    publisher.send(name("events"), strangers.event_records(random, count // 50))
    commands_answer(run.folder)
    others = OtherPublishers(broker, name("cameras"), "me", 5.0)
    assert others.last_session("forged") == 0
    others.close()
    assert "a record of the state topic cannot be read" in run.log, "the worker came upon them"
    assert "Traceback" not in run.log and run.most_megabytes < MOST_MEGABYTES, run.log[-3000:]
    print(
        f"\n{dict(sent.counts())}, {len(got)} events, {len(letters)} dead letters, "
        f"at most {run.most_megabytes:.0f} MiB, {time.monotonic() - began:.0f} s"
    )
