"""How fast a worker with all its threads is, and how much of the time its engine had nothing to do.

The topic is full before the worker starts, or cameras send more than it can take: frames wait all the time. What the
engine does is noted call by call, so nothing needs to be looked at while the worker runs.

    engine   | encode | embed |    | encode | embed |  | encode | embed |
                                idle                 idle
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from engines.contract import Embeddings, Engine, Images, Items, Memory, Sequences
from pipeline.analysis.label_set import LabelSet
from pipeline.analysis.ticks import tick_ns
from pipeline.bench.broker_cost import produce
from pipeline.broker.contract import Broker
from pipeline.config.settings import Settings
from pipeline.errors import BrokerTimeout
from pipeline.metrics import WorkerMetrics, new_registry
from pipeline.records.frames import FrameRecord, encode_stream_record
from pipeline.records.jpeg import encode_jpeg
from pipeline.records.labels import Label
from pipeline.worker.bundle_swap import BundleSwap
from pipeline.worker.handover import WorkerContext
from pipeline.worker.label_views import LabelHistory
from pipeline.worker.model import Model
from pipeline.worker.worker import Worker

Answer = TypeVar("Answer")

WAIT_SECONDS = 120.0
FEWEST_BATCHES = 5
"""Between which a rate is measured, however long that takes on a busy machine."""


@dataclass(frozen=True, slots=True)
class WorkerRate:
    """What a worker did in a stretch of time, between two calls of its engine."""

    frames_per_second: float
    """Encoded; about as many windows ended."""
    frames_per_cpu_second: float
    """Of this process. What a broker spends is not in it, and neighbours hardly change it."""
    idle_share: float
    """Of the time, in which no call of the engine was under way although frames waited."""
    decode_share: float
    """Of the CPU time of the process, which was spent on JPEG to pixels."""
    commits_per_second: float


@dataclass(frozen=True, slots=True)
class _Call:
    began: float
    ended: float
    frames: int
    """Encoded; 0 for windows."""


class NotedEngine:
    """An engine, and its calls. See `engines.contract.Engine`; what is not here is the engine's own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.calls: list[_Call] = []
        self._encoded = self._batches = 0
        self._changed = threading.Condition()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def encode(self, images: Images, memory: Memory | None = None) -> tuple[Items, Memory | None]:
        """See the contract."""
        return self._noted(lambda: self._engine.encode(images, memory), len(images))

    def embed(self, windows: Items) -> tuple[Embeddings, Embeddings]:
        """See the contract."""
        return self._noted(lambda: self._engine.embed(windows), 0)

    def embed_sequences(self, windows: Items) -> tuple[Embeddings, Embeddings, Sequences]:
        """See the contract."""
        return self._noted(lambda: self._engine.embed_sequences(windows), 0)

    @property
    def batches(self) -> int:
        """How often it encoded."""
        with self._changed:
            return self._batches

    def wait(self, *, frames: int = 0, batches: int = 0) -> None:
        """Wait until so many were encoded. Raises BrokerTimeout after two minutes."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._encoded >= frames and self._batches >= batches, WAIT_SECONDS):
                raise BrokerTimeout(
                    f"the worker encoded {self._encoded} frames in {self._batches} batches in {WAIT_SECONDS:g} s, and "
                    f"{max(frames, batches)} were to be measured; give it more frames"
                )

    def _noted(self, call: Callable[[], Answer], frames: int) -> Answer:
        began = time.perf_counter()
        found = call()
        self.calls.append(_Call(began, time.perf_counter(), frames))
        if frames:
            with self._changed:
                self._encoded += frames
                self._batches += 1
                self._changed.notify_all()
        return found


def preload(broker: Broker, settings: Settings, images: Images, cameras: int, ticks: int) -> None:
    """Publish so many ticks of each camera; they show these pictures in turn, at the size that they have."""
    jpegs = [encode_jpeg(image) for image in images]
    height, width, _ = images[0].shape
    names, rate = [f"camera-{number:04}" for number in range(cameras)], settings.rate
    frames = (
        FrameRecord(
            name, 1, tick, tick, rate, tick_ns(tick, rate, name), "arrival", width, height, jpegs[tick % len(jpegs)]
        )
        for tick in range(ticks)
        for name in names
    )
    produce(broker, settings.topics.name("frames"), [encode_stream_record(frame) for frame in frames])


def worker_rate(
    model: Model, settings: Settings, broker: Broker, labels: tuple[Label, ...], *, warm: int, seconds: float
) -> WorkerRate:
    """Run a worker for so long, once `warm` frames are encoded; it leaves the model open for the next one."""
    engine, decoded = NotedEngine(model.engine), list[float]()

    def prepare(jpeg: bytes, pixel: float = 1.0) -> Images:
        began = time.thread_time()
        found = model.prepare(jpeg, pixel)
        decoded.append(time.thread_time() - began)
        return found

    registry = new_registry()

    def commits() -> float:
        return registry.get_sample_value("actionwire_transactions_total", {"outcome": "committed"}) or 0.0

    with _running(model, settings, broker, labels, WorkerMetrics(registry), {"engine": engine, "prepare": prepare}):
        engine.wait(frames=warm)
        batches = engine.batches
        first, before, cpu, committed = len(engine.calls), len(decoded), time.process_time(), commits()
        began = time.perf_counter()
        time.sleep(seconds)
        engine.wait(batches=batches + FEWEST_BATCHES)
        last, after, cpu, committed = len(engine.calls), len(decoded), time.process_time() - cpu, commits() - committed
        took = time.perf_counter() - began
    rate, idle = _between(engine.calls[first:last])
    encoded = sum(call.frames for call in engine.calls[first:last])
    return WorkerRate(rate, encoded / cpu, idle, sum(decoded[before:after]) / cpu, committed / took)


def _between(calls: list[_Call]) -> tuple[float, float]:
    """Frames per second, and the idle share, from the end of the first call to the end of the last that encoded."""
    encoding = [number for number, call in enumerate(calls) if call.frames]
    some = calls[encoding[0] : encoding[-1] + 1]
    took = some[-1].ended - some[0].ended
    busy = sum(call.ended - call.began for call in some[1:])
    return sum(call.frames for call in some[1:]) / took, 1 - busy / took


@contextmanager
def _running(
    model: Model,
    settings: Settings,
    broker: Broker,
    labels: tuple[Label, ...],
    metrics: WorkerMetrics,
    instead: Mapping[str, Any],
) -> Iterator[None]:
    """A worker from its start to its end. instead: parts of its equipment. Raises what ends the worker."""
    history, failures, stop = LabelHistory(complete=True), list[BaseException](), threading.Event()
    history.put(LabelSet(labels, 0))
    bundle_swap = BundleSwap(model, history)
    bundle_swap.embed(0)
    worker = Worker(WorkerContext(settings, broker, metrics, "bench"), replace(bundle_swap.equipment, **instead))

    def run() -> None:
        try:
            worker.run(stop)
        except BaseException as error:  # raised again where the block ends
            failures.append(error)

    thread = threading.Thread(target=run, name="worker", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]
