"""How much of the engine a worker uses, with a broker on the same cores."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from models import of_models, served, served_settings

from engines.bench.rounds import figure, ratio
from engines.bundle.files import Bundle
from pipeline.bench.live_cameras import cameras_beside
from pipeline.bench.many_labels import many_labels
from pipeline.bench.worker_rate import WorkerRate, preload, worker_rate
from pipeline.broker import connect
from pipeline.broker.contract import Broker
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.topics import apply_topics
from pipeline.config.settings import Settings
from pipeline.local.broker_node import BrokerNode
from pipeline.records.labels import Label
from pipeline.worker.inference.sizes import sizes_of
from pipeline.worker.model import Model

WAYS = {"kafka": "", "live": "_live", "in_process": "_in_process", "often": "_often"}
"""How a worker is run -> how its figures end."""
CAMERAS = 16
LABELS = 10
OFTEN = 0.05
"""Seconds between two commits, for twenty of them a second."""
TOO_MANY = 1.25
"""Frames that live cameras send, over what the engine takes."""


def worker(*, quick: bool) -> dict[str, Any]:
    """Return, for each model, frames per second of a worker over those of its engine alone, on the same cores.

    `worker_over_engine_<model>`: over a real Kafka, of frames that are there already, at the size that the bundle
    takes. `..._live_<model>`: while cameras of another process send more than it can take. `..._in_process_<model>`:
    without Kafka. `..._often_<model>`: with a commit every 50 ms, in fact `commits_per_second_often_<model>`.
    `engine_idle_share...`: of the time, what no call of the engine filled although frames waited.
    `decode_share_<model>`: of the CPU time of the process. Keys in `_cpu` are by CPU time of this process, in which the
    broker's is not. The ViT-B/32's are also there without a model's name.
    """
    return of_models(quick, lambda bundle: _model(bundle, rounds=2 if quick else 5, seconds=1.0 if quick else 6.0))


def _model(bundle: Bundle, rounds: int, seconds: float) -> dict[str, Any]:
    alone, alone_cpu = list[float](), list[float]()
    found = {way: list[WorkerRate]() for way in WAYS}
    with _bench(bundle, seconds) as bench:
        for number in range(rounds):
            wall, cpu = bench.engine(seconds)
            alone.append(wall)
            alone_cpu.append(cpu)
            for way, rates in found.items():
                rates.append(bench.worker(way, number, seconds))
    figures = {"engine_frames_per_second": figure(alone).data()}
    for way, rates in found.items():
        suffix = WAYS[way]
        figures |= {
            f"worker_over_engine{suffix}": ratio([one.frames_per_second for one in rates], alone).data(),
            f"worker_over_engine{suffix}_cpu": ratio([one.frames_per_cpu_second for one in rates], alone_cpu).data(),
            f"engine_idle_share{suffix}": figure([one.idle_share for one in rates]).data(),
        }
    return figures | {
        "commits_per_second_often": figure([one.commits_per_second for one in found["often"]]).data(),
        "decode_share": figure([one.decode_share for one in found["kafka"]]).data(),
    }


@dataclass(frozen=True, slots=True)
class _Bench:
    """A model, and brokers that are full of its frames."""

    model: Model
    settings: Settings
    kafka: Broker
    in_process: Broker
    labels: tuple[Label, ...]
    rate: float
    """Frames per second of the engine alone, roughly."""

    def engine(self, seconds: float) -> tuple[float, float]:
        """Frames of the engine alone, encoded and each the end of a window, by second and by second of CPU time."""
        return _alone(self.model, sizes_of(self.settings.worker).batch_frames, seconds)

    def worker(self, way: str, number: int, seconds: float) -> WorkerRate:
        """A new worker, of a group of its own that begins at the first frame, or with cameras that send."""
        worker: dict[str, object] = {"group": f"{way}-{number}", "start": "live" if way == "live" else "begin"}
        worker |= {"commit_seconds": OFTEN} if way == "often" else {}
        settings = self.settings.model_copy(update={"worker": self.settings.worker.model_copy(update=worker)})
        broker = self.in_process if way == "in_process" else self.kafka
        with ExitStack() as stack:
            if way == "live":
                cameras = max(1, round(TOO_MANY * self.rate / settings.rate))
                warm = (cameras + 1) * self.model.geometry.frames
                stack.enter_context(cameras_beside(self.model.bundle.path, settings, cameras))
            else:
                warm = _warm(self.model)
            return worker_rate(self.model, settings, broker, self.labels, warm=warm, seconds=seconds)


@contextmanager
def _bench(bundle: Bundle, seconds: float) -> Iterator[_Bench]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="actionwire-bench-"))
        node = stack.enter_context(BrokerNode(Path(folder) / "broker"))
        kafka = served_settings(bundle).kafka.model_copy(update={"bootstrap": node.bootstrap})
        settings = served_settings(bundle).model_copy(update={"kafka": kafka})
        brokers = connect(kafka), InProcessBroker()
        model = served(bundle)
        for one in (*brokers, model):
            stack.callback(one.close)
        batch = sizes_of(settings.worker).batch_frames
        rate = max(_alone(model, batch, 0.3)[0] for _ in range(5))  # neighbours only slow it down
        frames = _warm(model) + 3.0 * rate * (seconds + 1.0)
        for broker in brokers:
            apply_topics(broker, settings)
            preload(broker, settings, bundle.golden().images, CAMERAS, round(frames / CAMERAS))
        yield _Bench(model, settings, *brokers, many_labels(bundle, LABELS), rate)


def _warm(model: Model) -> int:
    """Frames until every camera's windows are full, and a little more."""
    return CAMERAS * (model.geometry.frames + 2)


def _alone(model: Model, batch: int, seconds: float) -> tuple[float, float]:
    golden = model.bundle.golden()
    images = np.resize(golden.images, (batch, *golden.images.shape[1:]))
    windows = np.resize(golden.windows, (batch, *golden.windows.shape[1:]))
    model.engine.encode(images)
    began, spent, frames = time.perf_counter(), time.process_time(), 0
    while not frames or time.perf_counter() - began < seconds:
        model.engine.encode(images)
        model.engine.embed(windows)
        frames += batch
    return frames / (time.perf_counter() - began), frames / (time.process_time() - spent)
