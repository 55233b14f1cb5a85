"""Cameras that send in real time: a frame of each at every tick of the grid, as ingest would publish it.

On a thread of this process, or in a process of their own as in a deployment, so that they do not wait for the worker's
interpreter: `python -m pipeline.bench.live_cameras SETTINGS BUNDLE CAMERAS`, until its input ends.
"""

from __future__ import annotations

import heapq
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from engines.bundle.files import load
from engines.contract import Images
from pipeline.analysis.ticks import SECOND, tick_at, tick_ns
from pipeline.broker import connect
from pipeline.broker.contract import Broker
from pipeline.config.settings import Settings
from pipeline.errors import ActionwireError
from pipeline.records.frames import FrameRecord, encode_stream_record
from pipeline.records.jpeg import encode_jpeg

_READY = "sending"
_END_SECONDS = 30.0


@dataclass(slots=True)
class Published:
    """What cameras have sent."""

    frames: int = 0
    by_camera: dict[str, int] = field(default_factory=dict)


@contextmanager
def live_cameras(images: Images, settings: Settings, broker: Broker, cameras: int) -> Iterator[Published]:
    """Cameras that show these pictures, uint8 [n, H, W, 3], in turn until the block ends."""
    published, stop = Published(), threading.Event()
    topic, producer, rate = settings.topics.name("frames"), broker.producer(), settings.rate
    jpegs = [encode_jpeg(image) for image in images]
    height, width, _ = images[0].shape
    session = time.time_ns() // 1_000_000
    names = [f"camera-{number:04}" for number in range(cameras)]
    now = time.time_ns()
    due = [(tick_ns(tick, rate, name), tick, name) for name in names for tick in [tick_at(now, rate, name) + 1]]
    heapq.heapify(due)

    def send() -> None:
        while True:
            instant, tick, name = due[0]
            if stop.wait(max(0.0, (instant - time.time_ns()) / SECOND)):
                return
            sequence, jpeg = published.by_camera.get(name, 0), jpegs[tick % len(jpegs)]
            frame = FrameRecord(name, session, sequence, tick, rate, instant, "arrival", width, height, jpeg)
            producer.send(topic, encode_stream_record(frame))
            published.frames += 1
            published.by_camera[name] = sequence + 1
            heapq.heapreplace(due, (tick_ns(tick + 1, rate, name), tick + 1, name))

    thread = threading.Thread(target=send, name="cameras", daemon=True)
    thread.start()
    try:
        yield published
    finally:
        stop.set()
        thread.join()
        producer.close()


@contextmanager
def cameras_beside(bundle: Path, settings: Settings, cameras: int) -> Iterator[Published]:
    """The same in a process of its own, on the broker of the settings; what they sent is known once the block ends.

    bundle: whose golden pictures they show. Raises ActionwireError where the process fails.
    """
    published = Published()
    command = [sys.executable, "-m", "pipeline.bench.live_cameras", settings.model_dump_json(), str(bundle)]
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, str(cameras)], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline().strip() != _READY:
                raise ActionwireError(f"the cameras did not start: {process.communicate()[1][-500:]}")
            yield published
            said, _ = process.communicate(timeout=_END_SECONDS)
            published.by_camera = {str(name): int(count) for name, count in json.loads(said).items()}
            published.frames = sum(published.by_camera.values())
        finally:
            process.kill()


def main() -> None:
    """Send until the input ends; then print how many frames each camera sent, as JSON."""
    settings, bundle, cameras = Settings.model_validate_json(sys.argv[1]), load(Path(sys.argv[2])), int(sys.argv[3])
    broker = connect(settings.kafka)
    try:
        with live_cameras(bundle.golden().images, settings, broker, cameras) as published:
            print(_READY, flush=True)
            sys.stdin.read()
    finally:
        broker.close()
    print(json.dumps(published.by_camera), flush=True)


if __name__ == "__main__":
    main()
