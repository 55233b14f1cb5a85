"""A worker with all its threads in front of cameras that send in real time (`pipeline.bench.live_cameras`).

worker threads      as in a deployment
here                the windows that were scored, and the events as a subscriber reads them
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.analysis.label_set import LabelSet
from pipeline.analysis.ticks import SECOND
from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of
from pipeline.config.settings import Settings
from pipeline.metrics import WorkerMetrics, new_registry
from pipeline.records.events import decode_event
from pipeline.records.labels import Label
from pipeline.worker.bundle_swap import BundleSwap
from pipeline.worker.handover import WorkerContext
from pipeline.worker.label_views import LabelHistory
from pipeline.worker.model import Model
from pipeline.worker.worker import Worker

_LOOK_SECONDS = 0.002
_WAIT_SECONDS = 60.0


def restless(text: str, seconds: float) -> Label:
    """A label that every window reaches: each camera starts an event, ends it after so long, and begins anew."""
    return Label(
        "restless",
        text,
        enter=1e-9,
        exit=5e-10,
        confirm=1,
        backtrack_seconds=0.0,
        min_seconds=0.0,
        merge_seconds=0.0,
        cooldown_seconds=0.0,
        max_seconds=seconds,
    )


@dataclass(slots=True)
class LiveWorker:
    """A worker that runs, and what can be seen of it from outside."""

    worker: Worker
    bundle_swap: BundleSwap
    ended: threading.Event
    _registry: Any

    @property
    def windows(self) -> int:
        """Windows scored so far."""
        return int(self._registry.get_sample_value("actionwire_windows_total") or 0)

    def swap(self, model: Model) -> None:
        """Have the worker take another model, and wait until it has."""
        self.bundle_swap.hand_over(model, self.worker, self.ended)

    def pauses(self, seconds: float, until: threading.Event | None = None) -> list[float]:
        """Times between two moments at which new windows were seen, for so long, and on until `until` is set."""
        found, seen, last = [], self.windows, time.perf_counter()
        end = last + seconds
        while time.perf_counter() < end or (until is not None and not until.is_set()):
            time.sleep(_LOOK_SECONDS)
            if (now := self.windows) != seen:
                found.append(time.perf_counter() - last)
                seen, last = now, time.perf_counter()
        return [*found, time.perf_counter() - last]


@contextmanager
def live_worker(model: Model, settings: Settings, broker: Broker, labels: tuple[Label, ...]) -> Iterator[LiveWorker]:
    """Run a worker on `broker`, whose topics are there, until the block ends. It closes the model."""
    registry, stop, failures = new_registry(), threading.Event(), list[BaseException]()
    history = LabelHistory(complete=True)
    history.put(LabelSet(labels, 0))
    context = WorkerContext(settings, broker, WorkerMetrics(registry), "bench")
    bundle_swap = BundleSwap(model, history)
    bundle_swap.embed(0)
    worker = Worker(context, bundle_swap.equipment)

    def run() -> None:
        try:
            worker.run(stop)
        except BaseException as error:  # raised again where the block ends
            failures.append(error)

    with ExitStack() as stack:
        stack.callback(bundle_swap.close)
        thread = threading.Thread(target=run, name="worker", daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        deadline = time.monotonic() + _WAIT_SECONDS
        while worker.ready() is not None and not failures and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        yield LiveWorker(worker, bundle_swap, stop, registry)
    if failures:
        raise failures[0]


def latencies(broker: Broker, settings: Settings, seconds: float) -> list[float]:
    """Seconds from the capture of the frame that decided an event message to its arrival here, of all that come now."""
    reader, found = broker.reader(partitions_of(broker, settings.topics.name("events"))), list[float]()
    try:
        for partition, (_, end) in reader.bounds(_WAIT_SECONDS).items():
            reader.seek(partition, end)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for record in reader.read(0.05):
                event, now = decode_event(record.value or b""), time.time_ns()
                if event.phase == "started":
                    found.append((now - event.time_ns) / SECOND)
    finally:
        reader.close()
    return found


def processed(broker: Broker, settings: Settings) -> bool:
    """Wait until everything that was published is committed; False where that takes too long."""
    deadline = time.monotonic() + _WAIT_SECONDS
    topic = settings.topics.name("frames")
    while any(broker.lag(settings.worker.group, topic, _WAIT_SECONDS).values()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
