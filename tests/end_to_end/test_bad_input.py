"""Input that is wrong: records that cannot be used while a worker runs, a damaged bundle, misspelt settings."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from kafka import KafkaProducer

from engines.testing import COLOURS, tiny_bundle
from pipeline import child_process
from pipeline.analysis.ticks import tick_ns
from pipeline.broker import connect
from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of, read_all
from pipeline.broker.topics import apply_topics
from pipeline.config.reading import load
from pipeline.config.settings import Settings
from pipeline.errors import MessageTooLarge, TransientError
from pipeline.local.broker_node import BrokerNode
from pipeline.records.events import ActionEvent, decode_event
from pipeline.records.frames import FrameRecord, encode_stream_record
from pipeline.records.jpeg import encode_jpeg
from pipeline.records.wire import Headers, Message, Record

pytestmark = pytest.mark.kafka

JPEGS = {name: encode_jpeg(np.full((32, 32, 3), colour, np.uint8)) for name, colour in COLOURS.items()}
SCENES = ("grey",) * 10 + ("cyan",) * 12 + ("grey",) * 12 + ("cyan",) * 8 + ("grey",) * 10
TWENTY_MEGABYTES = 20_000_000
_numbers = itertools.count(1)


def configure(folder: Path, node: BrokerNode, bundle: Path, **more: Any) -> Path:
    """Write the settings of a deployment of its own."""
    document: dict[str, Any] = {
        "kafka": {"bootstrap": node.bootstrap},
        "topics": {"namespace": f"bad-{os.getpid()}-{next(_numbers)}", "partitions": 2},
        "labels": ["cyan"],
        "worker": {
            "bundle": str(bundle),
            "backend": "onnxruntime",
            "threads": 1,
            "start": "begin",
            "overload": "queue",
        },
        "http": {"worker_port": None, "ingest_port": None},
    }
    for section, values in more.items():
        document[section] = {**document.get(section, {}), **values} if isinstance(values, dict) else values
    path = folder / "actionwire.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture
def settings(tmp_path: Path, broker_node: BrokerNode, bundle: Path) -> Settings:
    """A deployment whose cluster takes even a frame of 20 MB."""
    return load(configure(tmp_path, broker_node, bundle, kafka={"max_message_bytes": TWENTY_MEGABYTES + 100_000}))


def command(folder: Path, *options: str) -> list[str]:
    """The worker command with the settings file of a folder."""
    return [sys.executable, "-m", "pipeline.cli", "worker", "--config", str(folder / "actionwire.yaml"), *options]


def good(camera: str, tick: int) -> Message:
    """A frame of the scenes that every camera shows, in the partition of its own."""
    record = FrameRecord(
        camera, 1, tick, tick, 4, tick_ns(tick, 4, camera), "arrival", 32, 32, JPEGS[SCENES[tick % len(SCENES)]]
    )
    message = encode_stream_record(record)
    return Message(message.key, message.value, message.headers, CAMERAS.index(camera))


CAMERAS = ("troubled", "calm")


def bad(tick: int) -> dict[str, Message]:
    """Records that cannot be used, by the reason that their dead letters must give, all of the troubled camera."""
    frame = good("troubled", tick)
    headers: Headers = (*frame.headers, ("trace", b"t" * 3000))
    other = tuple((name, b"2" if name == "schema" else value) for name, value in frame.headers)
    huge = b"\xff\xd8 looks like a JPEG" + bytes(TWENTY_MEGABYTES)
    return {
        "jpeg": Message(frame.key, b"garbage" * 1000, headers, 0),
        "empty": Message(frame.key, b"", frame.headers, 0),
        "schema": Message(frame.key, frame.value, other, 0),
        "huge": Message(frame.key, huge, frame.headers, 0),
    }


def publish(node: BrokerNode, topic: str, messages: Sequence[Message]) -> None:
    """Send messages in order, as a program of somebody else would: patiently, and whatever their size."""
    producer = KafkaProducer(
        bootstrap_servers=node.bootstrap,
        enable_idempotence=False,
        acks="all",
        max_in_flight_requests_per_connection=1,
        max_request_size=TWENTY_MEGABYTES + 50_000,
        request_timeout_ms=30_000,
        delivery_timeout_ms=60_000,
    )
    sent = [
        producer.send(topic, one.value, key=one.key, headers=list(one.headers), partition=one.partition)
        for one in messages
    ]
    for future in sent:
        future.get(timeout=60)
    producer.close()


def read(broker: Broker, topic: str) -> list[Record]:
    """Committed records of a topic, by partition and offset."""
    records = read_all(broker, partitions_of(broker, topic))
    return sorted(records, key=lambda record: (record.partition, record.offset))


def what(event: ActionEvent) -> tuple[object, ...]:
    """What an event says, apart from the camera and where its frames are."""
    return event.phase, event.sequence, event.start_tick, event.end_tick, event.score, event.peak, event.reason


def test_bad_records_are_put_aside_and_change_nothing(
    tmp_path: Path, broker_node: BrokerNode, broker: Broker, settings: Settings
) -> None:
    """Garbage, an empty value, an unknown schema and 20 MB arrive between good frames while a worker runs.

    troubled   . . . . x . . . x . . . x . . . x . . .     x: cannot be used
    calm       . . . . . . . . . . . . . . . . . . . .     the same scenes
    """
    frames, log = settings.topics.name("frames"), tmp_path / "worker.log"
    with log.open("wb") as output:
        worker = child_process.start(command(tmp_path, "--no-supervise"), output=output)
    try:
        spoilt = dict(zip((12, 15, 18, 21), bad(11).items(), strict=True))
        messages = []
        for tick in range(len(SCENES)):
            messages += [good("calm", tick), *([spoilt[tick][1]] if tick in spoilt else []), good("troubled", tick)]
        publish(broker_node, frames, messages)
        deadline = time.monotonic() + 90
        while True:
            try:
                lag = broker.lag(settings.worker.group, frames, 5.0)
            except TransientError:
                lag = {}
            if lag and not any(lag.values()):
                break
            assert worker.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.2)
        worker.terminate()
        assert worker.wait(30) == 0, log.read_text()[-3000:]
    finally:
        worker.kill()

    events = [decode_event(record.value) for record in read(broker, settings.topics.name("events"))]
    troubled, calm = ([what(event) for event in events if event.camera == camera] for camera in CAMERAS)
    assert troubled == calm and [phase for phase, *_ in calm].count("ended") == 2

    sent = {record.offset: record for record in read(broker, frames) if record.partition == 0}
    letters = read(broker, settings.topics.name("dead"))
    assert [dict(letter.headers)["reason"] for letter in letters] == [b"jpeg", b"empty", b"schema", b"jpeg"]
    for letter, (_, original) in zip(letters, spoilt.values(), strict=True):
        headers = dict(letter.headers)
        source = sent[int(headers["offset"])]
        assert (headers["topic"], headers["partition"]) == (frames.encode(), b"0")
        assert source.value == original.value and letter.value == (original.value or b"")[:1024]
        assert letter.key == b"troubled" and headers["message"]
        assert headers["value_bytes"] == str(len(original.value or b"")).encode()
        kept = {name: value[:1024] for name, value in original.headers}
        assert {name.removeprefix("original_"): headers[name] for name in headers if name.startswith("orig")} == kept


def test_a_frame_that_the_cluster_does_not_take_is_refused_before_it_is_sent(
    tmp_path: Path, broker_node: BrokerNode, bundle: Path
) -> None:
    """With the sizes as they are by default, 20 MB are refused by name and remedy, and other frames go on."""
    settings = load(configure(tmp_path, broker_node, bundle))
    broker = connect(settings.kafka)
    apply_topics(broker, settings)
    producer = broker.producer()
    with pytest.raises(MessageTooLarge, match=r"frames.*kafka\.max_message_bytes"):
        producer.send(settings.topics.name("frames"), bad(0)["huge"])
    producer.close()
    publish(broker_node, settings.topics.name("frames"), [good("calm", 0)])
    assert len(read(broker, settings.topics.name("frames"))) == 1
    broker.close()


def run_to_its_end(folder: Path, *options: str) -> tuple[int, list[str]]:
    """Exit code and lines on stderr of a worker that must end by itself."""
    done = subprocess.run(command(folder, *options), capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr.strip().splitlines()


def test_a_tampered_bundle_is_refused(tmp_path: Path, broker_node: BrokerNode) -> None:
    """One changed byte of a network: the command and its supervisor end with 2; a line names bundle, file and reason.

    The supervisor starts no second child: a bundle is not mended by loading it again.
    """
    bundle = tiny_bundle(tmp_path / "tiny", frames=4)
    network = bytearray((bundle / "image.onnx").read_bytes())
    network[-1] ^= 1
    (bundle / "image.onnx").write_bytes(network)
    settings = load(configure(tmp_path, broker_node, bundle))
    broker = connect(settings.kafka)
    apply_topics(broker, settings)
    broker.close()
    code, lines = run_to_its_end(tmp_path)
    errors = [line for line in lines if line.startswith("error:")]
    assert code == 2 and len(errors) == 1 and lines[-1] == errors[0], lines
    assert f"the bundle {bundle} (worker.bundle) cannot be loaded" in errors[0]
    assert "image.onnx" in errors[0] and "sha256" in errors[0]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        pytest.param({"worker": {"batch_frame": 8}}, ["worker.batch_frame", "batch_frames"], id="worker key"),
        pytest.param({"labels": [{"text": "cyan", "entr": 0.5}]}, ["labels.0.entr", "'enter'"], id="label key"),
        pytest.param({"labels": [{"text": "cyan", "enter": 1.5}]}, ["labels.0.enter", "less than 1"], id="label value"),
        pytest.param({"camera": {}}, ["camera: unknown key", "'cameras'"], id="section"),
    ],
)
def test_a_misspelt_setting_is_named(
    more: dict[str, Any], words: list[str], tmp_path: Path, broker_node: BrokerNode, bundle: Path
) -> None:
    """The command ends with 2 and one line: the file, the key, and what was probably meant."""
    path = configure(tmp_path, broker_node, bundle, **more)
    code, lines = run_to_its_end(tmp_path)
    assert code == 2 and len(lines) == 1 and lines[0].startswith(f"error: {path}: "), lines
    assert all(word in lines[0] for word in words), lines
