"""A cluster that compresses, and publishers that do: worker, replay, labels and status read every codec of Kafka."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from kafka import KafkaProducer
from typer.testing import CliRunner

from engines.testing import COLOURS, tiny_bundle
from pipeline import child_process
from pipeline.analysis.ticks import tick_ns
from pipeline.broker import connect
from pipeline.broker.contract import Broker, TopicSettings
from pipeline.broker.partitioning import partition_of
from pipeline.broker.reading import partitions_of, read_all
from pipeline.broker.topics import compare_topics, topic_settings
from pipeline.cli import app
from pipeline.config.reading import load
from pipeline.config.settings import Settings
from pipeline.local.broker_node import TEST_OVERRIDES, BrokerNode
from pipeline.records.cameras import CameraStatus, encode_status
from pipeline.records.frames import FrameRecord, encode_stream_record
from pipeline.records.jpeg import encode_jpeg
from pipeline.records.labels import Label, LiveLabel, encode_control
from pipeline.records.state import CameraState, encode_state
from pipeline.records.wire import Message, Record

pytestmark = pytest.mark.kafka

CODECS = ("gzip", "snappy", "lz4", "zstd")
PARTITIONS = 2
JPEGS = {name: encode_jpeg(np.full((32, 32, 3), colour, np.uint8)) for name, colour in COLOURS.items()}
SCENES = [("grey", 8), ("cyan", 14), ("grey", 14), ("magenta", 12), ("grey", 8)]


@pytest.fixture(scope="module")
def node() -> Iterator[BrokerNode]:
    """A cluster that stores everything in zstd where a topic does not say otherwise."""
    with BrokerNode(overrides={**TEST_OVERRIDES, "compression.type": "zstd"}) as own:
        yield own


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that knows colours."""
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny", frames=4)


class Foreign:
    """Publishers of other programs, one for each codec; every batch is of one of them."""

    def __init__(self, node: BrokerNode) -> None:
        self._producers = [
            KafkaProducer(bootstrap_servers=node.bootstrap, compression_type=codec, linger_ms=100) for codec in CODECS
        ]

    def send(self, topic: str, codec: str, messages: Sequence[Message], partitions: int) -> None:
        """Publish messages in one codec, and wait until they are there."""
        producer = self._producers[CODECS.index(codec)]
        for one in messages:
            assert one.key is not None
            place = partition_of(one.key, partitions)
            producer.send(topic, key=one.key, value=one.value, headers=list(one.headers), partition=place)
        producer.flush()

    def close(self) -> None:
        """Close all."""
        for one in self._producers:
            one.close()


def stored(node: BrokerNode, topic: str) -> set[str]:
    """Codecs of the batches in a topic's segments."""
    found = set()
    for log in (node.home / "data").glob(f"{topic}-*/*.log"):
        content, at = log.read_bytes(), 0
        while at + 61 <= len(content) and (size := int.from_bytes(content[at + 8 : at + 12], "big")):
            found.add(("none", *CODECS)[content[at + 22] & 7])
            at += 12 + size
    return found


def shown() -> list[tuple[str, list[Message]]]:
    """What two cameras show, a codec for each scene."""
    tick, parts = 0, []
    for place, (colour, count) in enumerate(SCENES):
        frames = [
            encode_stream_record(
                FrameRecord(camera, 1, at, at, 4, tick_ns(at, 4, camera), "arrival", 32, 32, JPEGS[colour])
            )
            for at in range(tick, tick + count)
            for camera in ("door", "yard")
        ]
        parts.append((CODECS[place % len(CODECS)], frames))
        tick += count
    return parts


def publish_everything(node: BrokerNode, settings: Settings) -> None:
    """Batches of every codec on the topics that anybody may write to."""
    with contextlib.closing(Foreign(node)) as foreign:
        for codec in CODECS:
            label = Label(codec, "cyan" if codec == "gzip" else "magenta", cameras=("door", "yard"))
            status = CameraStatus(
                f"camera-{codec}", "online", 0, 1, 4.0, 32, 32, "h264", "arrival", 0.0, 0, "other", None, None
            )
            ended = CameraState(f"camera-{codec}", 1, 4, 0, True, ())
            for topic, message, partitions in (
                ("control", encode_control(LiveLabel(codec, label)), 1),
                ("cameras", encode_status(status), 1),
                ("state", encode_state(ended), PARTITIONS),
            ):
                foreign.send(settings.topics.name(topic), codec, [message] * 5, partitions)  # one alone does not shrink
        for codec, frames in shown():
            foreign.send(settings.topics.name("frames"), codec, frames, PARTITIONS)


def printed(config: Path, *arguments: str) -> str:
    """What a command prints; it must succeed."""
    done = CliRunner().invoke(app, [*arguments, "--config", str(config)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def work(config: Path, log: Path, done: Callable[[], bool]) -> None:
    """Run a worker until something is so."""
    deadline = time.monotonic() + 90
    with log.open("ab") as output:
        command = [sys.executable, "-m", "pipeline.cli", "worker", "--no-supervise", "--slot", "a"]
        process = child_process.start([*command, "--config", str(config)], output=output)
    try:
        while not done():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.1)
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()


def test_every_codec_is_read(node: BrokerNode, bundle: Path, tmp_path: Path) -> None:
    """Topics that were made by other means than ours; a worker works, is started again, and agrees with a replay.

    frames, control, cameras, state   kept as publishers of each codec sent them
    events, dead                      zstd, by the cluster
    read by                           worker, worker again (from states), replay --topic, labels list, status
    """
    document = {
        "kafka": {"bootstrap": node.bootstrap},
        "topics": {"partitions": PARTITIONS},
        "worker": {
            "bundle": str(bundle), "backend": "onnxruntime", "threads": 1, "start": "begin", "overload": "queue",
            "session_seconds": 6, "commit_seconds": 0.2,
        },
        "http": {"worker_port": None, "ingest_port": None},
    }  # fmt: skip
    config, log = tmp_path / "actionwire.yaml", tmp_path / "worker.log"
    config.write_text(yaml.safe_dump(document))
    settings = load(config)
    frames, events = settings.topics.name("frames"), settings.topics.name("events")
    with contextlib.closing(connect(settings.kafka)) as broker:
        broker.ensure_topics([_by_others(topic) for topic in topic_settings(settings)], 20)
        assert any("compression.type is zstd, not uncompressed" in line for line in compare_topics(broker, settings))
        publish_everything(node, settings)

        def caught_up() -> bool:
            return not any(broker.lag(settings.worker.group, frames, 10).values()) and bool(_read(broker, events))

        work(config, log, caught_up)
        record = FrameRecord("door", 1, 60, 60, 4, tick_ns(60, 4, "door"), "arrival", 32, 32, JPEGS["grey"])
        with contextlib.closing(Foreign(node)) as foreign:  # so that the next worker has something to go on with
            foreign.send(frames, "lz4", [encode_stream_record(record)] * 5, PARTITIONS)
        work(config, log, caught_up)
        found = [json.loads(one.value or b"") for one in _read(broker, events)]
        dead = _read(broker, settings.topics.name("dead"))

    for topic in ("frames", "control", "cameras", "state"):
        assert stored(node, settings.topics.name(topic)) >= set(CODECS)
    assert "zstd" in stored(node, events)
    assert "passed over" not in log.read_text() and not dead
    replayed = [json.loads(line) for line in printed(config, "replay", "--topic", "--json", "-").splitlines()]
    assert sorted(map(_identity, found)) == sorted(map(_identity, replayed)) and len(found) > 4
    assert {one["label"]["id"] for one in found} == set(CODECS)
    labels = json.loads(printed(config, "labels", "list", "--json"))["labels"]
    assert {one["id"] for one in labels} == set(CODECS)
    cameras = json.loads(printed(config, "status", "--json"))["cameras"]
    assert {one["camera"] for one in cameras} == {f"camera-{codec}" for codec in CODECS}


def _by_others(topic: TopicSettings) -> TopicSettings:
    own = {name: value for name, value in topic.settings.items() if name != "compression.type"}
    published = topic.name.endswith((".events", ".dead"))
    return replace(topic, settings=own if published else own | {"compression.type": "producer"})


def _identity(event: dict[str, object]) -> str:
    return f"{event['id']}.{event['sequence']}"


def _read(broker: Broker, topic: str) -> list[Record]:
    return list(read_all(broker, partitions_of(broker, topic)))
