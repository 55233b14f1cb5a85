"""A folder of somebody's own clips becomes events, by the four commands of the README, on a real Apache Kafka."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from engines.bundle import files as bundles
from engines.bundle.store import resolve
from pipeline import child_process
from pipeline.analysis.ticks import REPLAY_EPOCH_NS, SECOND
from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of, read_all
from pipeline.camera.sampling import sample_file
from pipeline.config.reading import load
from pipeline.config.settings import Settings
from pipeline.local.broker_node import BrokerNode
from pipeline.records.events import ActionEvent, decode_event
from pipeline.records.frames import encode_stream_record
from pipeline.records.jpeg import encode_jpeg
from trainer.calibration.spliced import Form, splice
from trainer.calibration.streams import ActionTruth
from trainer.cli import app
from trainer.data.manifest import Clip, read_list

FOOTAGE = Path(__file__).parents[2] / "../shared/data"
RECIPE = Path(__file__).parents[2] / "trainer/recipes/ut-interaction.yaml"
LABELS = ("hugging", "kicking")
SEQUENCES = range(1, 13)
WINDOW_SECONDS = 3.0

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.footage,
    pytest.mark.skipif(not FOOTAGE.is_dir(), reason="no real footage beside the checkout (../shared/data)"),
]


def command(*arguments: object) -> None:
    """Run a command of the trainer, which must succeed."""
    found = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder per label, with the clips of some sequences, and one of background; the file's name has the sequence."""
    files = {}
    for label in LABELS:
        found = sorted((FOOTAGE / "ut_interaction" / label).glob("*.avi"))
        files[label] = [file for file in found if int(file.stem.split("_")[-2]) in SEQUENCES]
    files["background"] = sorted((FOOTAGE / "surv_fight/noFight").glob("*.mp4"))[:9]
    for label, chosen in files.items():
        (tmp_path / "clips" / label).mkdir(parents=True)
        for file in chosen:
            (tmp_path / "clips" / label / file.name).symlink_to(file.resolve())
    return tmp_path / "clips"


@pytest.fixture
def settings(tmp_path: Path, broker_node: BrokerNode) -> Settings:
    """A deployment of its own on the shared broker, which names the bundle that will be in the store."""
    document = {
        "kafka": {"bootstrap": broker_node.bootstrap},
        "topics": {"namespace": f"clips-{os.getpid()}", "partitions": 1},
        "labels": list(LABELS),
        "worker": {"bundle": "ut-interaction", "start": "begin", "commit_seconds": 0.2, "overload": "queue"},
        "http": {"worker_port": None, "ingest_port": None},
    }
    (tmp_path / "actionwire.yaml").write_text(yaml.safe_dump(document))
    return load(tmp_path / "actionwire.yaml")


def produce(broker: Broker, settings: Settings, camera: str, file: Path) -> None:
    """Publish a file as ingest publishes a camera."""
    producer = broker.producer()
    for frame in sample_file(file, camera, settings.rate, REPLAY_EPOCH_NS, settings.ingest.short_side):
        record = frame.record(encode_jpeg(frame.image, settings.ingest.jpeg_quality))
        producer.send(settings.topics.name("frames"), encode_stream_record(record))
    producer.flush(20)
    producer.close()


def test_a_folder_of_clips_becomes_events_with_the_right_labels(
    tmp_path: Path, clips: Path, broker: Broker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """data, train, publish, worker: clips of sequences that nobody trained on are recognised on a camera.

    camera   |-- background --| hugging |-- background --| kicking |-- background --| ...
    events                    |- hugging -|              |- kicking -|
    """
    monkeypatch.setenv("ACTIONWIRE_STORE", str(tmp_path / "store"))
    command("data", clips, "--group-pattern", "_([0-9]+)_[0-9][.]avi")
    command(
        "train", RECIPE, "--out", tmp_path / "run", "--set", f"data.clips={clips}", "--set", "licence=tests only",
        "--set", "stages.0.steps=100", "--set", "items.copies=1",
    )  # fmt: skip
    command("publish", tmp_path / "run")

    manifest = bundles.load(resolve("ut-interaction", tmp_path / "store")).manifest
    assert manifest.sealed and (tmp_path / "store" / "ut-interaction" / "0.1.0.md").is_file()
    made = splice(*apart(clips), Form(manifest.window, manifest.input), tmp_path, lambda done, of: None)
    log = tmp_path / "worker.log"
    worker = (sys.executable, "-m", "pipeline.cli", "worker", "--config", str(tmp_path / "actionwire.yaml"))
    with log.open("wb") as output:
        process = child_process.start([*worker, "--no-supervise"], output=output)
    try:
        for camera, file in made.recorded.files.items():
            produce(broker, settings, camera, file)
        topic = settings.topics.name("events")
        wait_until(lambda: len(started(broker, topic)) >= 1, process, log)
        wait_until(lambda: not any(broker.lag(settings.worker.group, settings.topics.name("frames"), 5.0).values()),
                   process, log)  # fmt: skip
        found = started(broker, topic)
    finally:
        process.terminate()
        process.wait(30)
    truth = [(camera["id"], action) for camera in made.recorded.truth["cameras"] for action in camera["actions"]]
    right = {action["label"] for camera, action in truth if any(shows(event, camera, action) for event in found)}
    assert right == set(LABELS), (found, truth)


def apart(clips: Path) -> tuple[list[Clip], list[Clip]]:
    """The clips of the split `test`: those with a label, and those of background."""
    kept = [clip for clip in read_list(clips) if clip.split == "test"]
    return [clip for clip in kept if not clip.background], [clip for clip in kept if clip.background]


def wait_until(done: Callable[[], object], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until something is so; fail with the end of the log when the worker ends or five minutes are over."""
    deadline = time.monotonic() + 300
    while not done():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.2)


def shows(event: ActionEvent, camera: str, action: ActionTruth) -> bool:
    """Whether an event says that an action of its label began while it went on, or a window later."""
    fired = (event.time_ns - REPLAY_EPOCH_NS) / SECOND
    right = event.camera == camera and event.label == action["label"]
    return right and action["start"] < fired < action["end"] + WINDOW_SECONDS


def started(broker: Broker, topic: str) -> list[ActionEvent]:
    """The events that have begun."""
    events = [decode_event(record.value) for record in read_all(broker, partitions_of(broker, topic))]
    return [event for event in events if event.phase == "started"]
