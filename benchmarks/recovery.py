"""How long cameras go unwatched after a transaction failed, against a worker that is started again.

The same cameras, windows and engine in both. The restart has its bundle loaded already and finds no item; the abort
finds those that are kept. The broker is in this process, so neither waits for one. A frame of every camera waits
meanwhile; the time that it takes of a worker to which nothing happens is taken off.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from models import of_models, served
from prometheus_client import CollectorRegistry

from engines.bench.rounds import figure
from engines.bundle.files import Bundle
from pipeline.analysis.ticks import tick_ns
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.topics import apply_topics
from pipeline.config.settings import Settings
from pipeline.errors import TransactionAborted
from pipeline.metrics import WorkerMetrics
from pipeline.records.frames import FrameRecord, encode_stream_record
from pipeline.records.jpeg import encode_jpeg
from pipeline.worker import fail_points
from pipeline.worker.bundle_swap import BundleSwap
from pipeline.worker.handover import WorkerContext
from pipeline.worker.label_views import LabelHistory
from pipeline.worker.model import Model
from pipeline.worker.worker import Worker

CAMERAS = 37
PARTITIONS = 8
COMMIT_SECONDS = 0.05
"""The wait for the next commit is no part of either pause."""
DEADLINE = 600.0


def recovery(*, quick: bool) -> dict[str, Any]:
    """Return, for each model, seconds from the failure until all that waited is committed, and their ratio.

    `abort_pause_s_<model>`, `restart_pause_s_<model>`, `abort_pause_over_restart_<model>`; the ViT-B/32's also without
    a model's name.
    """
    return of_models(quick, lambda bundle: _model(bundle, rounds=1 if quick else 3))


def _model(bundle: Bundle, rounds: int) -> dict[str, Any]:
    broker, model = InProcessBroker(), served(bundle)
    settings = Settings(
        rate=model.geometry.rate,
        topics={"namespace": "bench", "partitions": PARTITIONS},  # type: ignore[arg-type]
        worker={"start": "begin", "overload": "queue", "commit_seconds": COMMIT_SECONDS},  # type: ignore[arg-type]
    )
    apply_topics(broker, settings)
    cameras = Cameras(broker, settings, model)
    aborts, restarts = [], []
    with closing(model):
        for _ in range(rounds):
            with _running(broker, settings, model):
                cameras.show(model.geometry.frames + 4)
                cameras.wait()
                cameras.show(1)
                usual = cameras.wait()
                with _failing():
                    cameras.show(1)
                    aborts.append(cameras.wait() - usual)
            cameras.show(1)
            with _running(broker, settings, model):
                restarts.append(cameras.wait() - usual)
    broker.close()
    return {
        "abort_pause_s": figure(aborts).data(),
        "restart_pause_s": figure(restarts).data(),
        "abort_pause_over_restart": figure([one / other for one, other in zip(aborts, restarts, strict=True)]).data(),
    }


class Cameras:
    """Cameras that send when they are told to."""

    def __init__(self, broker: InProcessBroker, settings: Settings, model: Model) -> None:
        self._broker, self._settings, self._tick = broker, settings, 0
        self._producer = broker.producer()
        self._jpegs = [encode_jpeg(image) for image in model.bundle.golden().images]
        info = model.engine.info
        self._size = info.width, info.height

    def show(self, ticks: int) -> None:
        """Send a frame of every camera at each of the next ticks."""
        rate, topic = self._settings.rate, self._settings.topics.name("frames")
        for tick in range(self._tick, self._tick + ticks):
            for number in range(CAMERAS):
                name, jpeg = f"camera-{number:02}", self._jpegs[(tick + number) % len(self._jpegs)]
                instant = tick_ns(tick, rate, name)
                frame = FrameRecord(name, 1, tick, tick, rate, instant, "arrival", *self._size, jpeg)
                self._producer.send(topic, encode_stream_record(frame))
        self._tick += ticks

    def wait(self) -> float:
        """Wait until everything that was sent is committed; return the seconds."""
        began = time.perf_counter()
        while any(self._broker.lag(self._settings.worker.group, self._settings.topics.name("frames"), 5.0).values()):
            if time.perf_counter() - began > DEADLINE:
                raise RuntimeError(f"the worker did not come to the end of its frames in {DEADLINE:g} s")
            time.sleep(0.005)
        return time.perf_counter() - began


@contextmanager
def _running(broker: InProcessBroker, settings: Settings, model: Model) -> Iterator[None]:
    """A worker from its start to its end; it may use the model that others used before it."""
    context = WorkerContext(settings, broker, WorkerMetrics(CollectorRegistry()), "bench")
    worker = Worker(context, BundleSwap(model, LabelHistory(complete=True)).equipment)
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _failing() -> Iterator[None]:
    """The next transaction fails, before its positions are sent."""
    left: list[Callable[[], None]] = [_fail]
    fail_points.hook = lambda step: left.pop()() if step == "commit:6" and left else None
    try:
        yield
    finally:
        fail_points.hook = None


def _fail() -> None:
    raise TransactionAborted("on purpose")
