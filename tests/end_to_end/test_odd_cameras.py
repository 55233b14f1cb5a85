"""Odd cameras beside healthy ones: one real ingest, one real worker, a real Apache Kafka, cameras over real RTSP.

ODD_CAMERAS_SECONDS=180 watches for three minutes, with key pictures half a minute apart.
"""

import itertools
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pipeline import child_process
from pipeline.broker import connect
from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of, read_all
from pipeline.broker.topics import apply_topics
from pipeline.config.reading import load
from pipeline.config.settings import Settings
from pipeline.local.broker_node import BrokerNode
from pipeline.local.ports import free_port
from pipeline.local.rtsp import RtspServer, load_media
from pipeline.local.test_card import draw, write_test_card
from pipeline.records.frames import FrameRecord, decode_stream_record
from pipeline.records.jpeg import encode_jpeg
from pipeline.testing import mjpeg_camera

pytestmark = pytest.mark.kafka

WATCHED = float(os.environ.get("ODD_CAMERAS_SECONDS", "12"))
KEYS_APART = 30 if WATCHED >= 60 else 7
RATE = 4
_numbers = itertools.count(1)

SESSIONS = {"stray": 1, "standing": 1, "paced": 2, "mjpeg": 1, "rare-keys": 1} | {f"sound-{n}": 1 for n in range(4)}
"""How many sessions each camera may have."""


@contextmanager
def cameras(folder: Path) -> Iterator[dict[str, str]]:
    """URLs of five odd cameras and four sound ones."""

    def card(name: str, fps: int, gop: int, seconds: float = 8) -> Path:
        return write_test_card(folder / f"{name}.mp4", seconds=seconds, fps=fps, width=160, height=120, gop=gop)

    sound, slow = load_media(card("sound", 25, 25)), load_media(card("slow", 20, 20))
    rare = load_media(card("rare", 15, 15 * KEYS_APART, 2 * KEYS_APART), longest_gop=60)
    jpegs = [encode_jpeg(draw(number, 160, 120), 85) for number in range(50)]
    with RtspServer() as server, mjpeg_camera(jpegs, 5, ("type",)) as mjpeg:
        odd = {
            "stray": (sound, lambda number, at: at + (37_600 if number % 50 == 49 else 0)),
            "standing": (sound, lambda number, at: at // 2 * 2),
            "paced": (slow, lambda number, at: at * 0.8),
            "rare-keys": (rare, None),
        }
        for name, (media, restamp) in odd.items():
            faults = server.add(name, media).faults
            faults.reports, faults.restamp = False, restamp
            faults.joined = 1.0 if name == "rare-keys" else None
        for name in ("sound-0", "sound-1", "sound-2", "sound-3"):
            server.add(name, sound)
        yield {"mjpeg": mjpeg} | {name: server.url(name) for name in SESSIONS if name != "mjpeg"}


def frames(broker: Broker, settings: Settings) -> dict[str, list[FrameRecord]]:
    """The frames of each camera."""
    found: dict[str, list[FrameRecord]] = {name: [] for name in SESSIONS}
    for record in read_all(broker, partitions_of(broker, settings.topics.name("frames"))):
        frame = decode_stream_record(record.key, record.value, record.headers)
        if isinstance(frame, FrameRecord):
            found[frame.camera].append(frame)
    return found


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process in order."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        child_process.kill_group(process)


def windows(port: int) -> dict[str, float]:
    """Windows that the worker has scored, by camera."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            page = answer.read().decode()
    except OSError:
        return {}
    return {
        sample.labels["camera"]: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "actionwire_camera_windows_total"
    }


@pytest.mark.timeout(WATCHED + 240)
def test_odd_cameras_are_watched_and_sound_ones_untouched(
    tmp_path: Path, broker_node: BrokerNode, bundle: Path
) -> None:
    """Stray stamps, stamps that stand, another pace, MJPEG over HTTP and key pictures far apart: one session each, two
    where stamps drift, nearly every tick that the camera can answer, and windows of each are scored."""
    port = free_port()
    document = {
        "rate": RATE,
        "kafka": {"bootstrap": broker_node.bootstrap},
        "topics": {"namespace": f"odd-{os.getpid()}-{next(_numbers)}", "partitions": 4},
        "labels": ["cyan"],
        "ingest": {"short_side": 64},
        "worker": {"bundle": str(bundle), "backend": "onnxruntime", "threads": 1, "start": "begin"},
        "http": {"worker_port": port, "ingest_port": None, "per_camera_metrics": 20},
    }
    with ExitStack() as stack:
        urls = stack.enter_context(cameras(tmp_path))
        file = tmp_path / "actionwire.yaml"
        file.write_text(yaml.safe_dump({**document, "cameras": {name: {"url": url} for name, url in urls.items()}}))
        settings = load(file)
        broker = connect(settings.kafka)
        stack.callback(broker.close)
        apply_topics(broker, settings)
        processes: list[subprocess.Popen[bytes]] = []
        for name in ("worker", "ingest"):
            log = stack.enter_context((tmp_path / f"{name}.log").open("ab"))
            processes.append(
                child_process.start([sys.executable, "-m", "pipeline.cli", name, "--config", str(file)], output=log)
            )
            stack.callback(stop, processes[-1])
        deadline = time.monotonic() + 60 + KEYS_APART
        while any(not of for of in frames(broker, settings).values()):
            assert time.monotonic() < deadline, (tmp_path / "ingest.log").read_text()[-3000:]
            assert not any(process.poll() for process in processes)
            time.sleep(0.5)
        begun = time.time()
        while time.time() < begun + WATCHED or windows(port).keys() != SESSIONS.keys():
            assert time.time() < begun + WATCHED + 60, (tmp_path / "worker.log").read_text()[-3000:]
            time.sleep(0.5)
        scored, ended = windows(port), time.time()
        found = frames(broker, settings)

    for name, of in found.items():
        due = (ended - of[0].capture_ns / 1e9) * RATE
        ticks = {frame.tick for frame in of}
        sessions = len({frame.session for frame in of})
        print(f"{name:10} {sessions} sessions, {len(ticks)} of {due:.0f} ticks, {scored[name]:.0f} windows")
        assert sessions <= SESSIONS[name], name
        assert len(ticks) >= 0.92 * due, name
        assert scored[name] > 0.8 * (len(ticks) - 3), name
