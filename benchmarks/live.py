"""A worker in front of live cameras: how late it is, and what a change of its bundle costs."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from models import of_models, served, served_settings

from engines.bench.rounds import Call, figure, measure
from engines.bundle.files import Bundle
from pipeline.analysis.label_set import LabelSet
from pipeline.bench.live_cameras import Published, cameras_beside, live_cameras
from pipeline.bench.live_worker import LiveWorker, latencies, live_worker, processed, restless
from pipeline.bench.many_labels import many_labels
from pipeline.bench.streams import Streams
from pipeline.broker import connect
from pipeline.broker.contract import Broker
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.topics import apply_topics
from pipeline.config.settings import Settings
from pipeline.local.broker_node import BrokerNode
from pipeline.worker.inference.sizes import sizes_of
from pipeline.worker.model import Model

LOADS = (0.5, 0.8, 1.0)
BARRED = (0.5, 0.8)
"""Loads at which the latency has to keep to its budget; what comes at full load is reported."""
EVENT_SECONDS = 2.0
SETTLING_SECONDS = 2.0
"""After every window is full: the broker of a first load is slow at first."""
ALLOWED_SECONDS = 0.1
"""Of the latency, beside one sampling period and one batch."""


def latency(*, quick: bool) -> dict[str, Any]:
    """Return how long after its capture a frame that begins an event is read by a subscriber, over a real Kafka.

    `latency_p99_s_<load>_<model>`, at 50, 80 and 100 % of the frames per second that the model manages here without a
    broker; `latency_budget_s_<model>`: a sampling period, one batch and 100 ms; `latency_over_budget_s_<load>_<model>`:
    how much later than that. `latency_p99_s_<model>`: the worse of 50 and 80 %. `latency_reported_<load>_<model>`:
    windows that were scored of those that were due. The ViT-B/32's are also there without a model's name.
    """
    return of_models(quick, lambda bundle: _latency(bundle, 6.0 if quick else 40.0))


def swap(*, quick: bool) -> dict[str, Any]:
    """Return what a swap to a bundle of the same space costs a worker at half of its load.

    `swap_frames_lost_<model>`: windows that were never scored. `swap_gap_s_<model>`: longest time without a new window
    around the swap; `swap_gap_usual_s_<model>`: without one. The ViT-B/32's are also there without a model's name.
    """
    return of_models(quick, lambda bundle: _swap(bundle, 2 if quick else 5))


def _latency(bundle: Bundle, seconds: float) -> dict[str, Any]:
    rate, per_second = bundle.manifest.window.rate, _capacity(bundle)
    budget = 1 / rate + sizes_of(served_settings(bundle).worker).batch_frames / per_second + ALLOWED_SECONDS
    found: dict[str, Any] = {"latency_budget_s": round(budget, 4)}
    worst = 0.0
    with tempfile.TemporaryDirectory(prefix="actionwire-bench-") as folder, BrokerNode(Path(folder) / "broker") as node:
        for load in LOADS:
            percent = f"{100 * load:.0f}"
            with _over_kafka(bundle, node, f"bench-{percent}", load * per_second) as (
                live,
                broker,
                settings,
                published,
            ):
                time.sleep(bundle.manifest.window.frames / rate + SETTLING_SECONDS)
                late = latencies(broker, settings, seconds)
            p99 = float(np.quantile(late, 0.99)) if late else float("inf")
            worst = max(worst, p99) if load in BARRED else worst
            found |= {
                f"latency_p99_s_{percent}": round(p99, 4),
                f"latency_over_budget_s_{percent}": round(p99 - budget, 4),
                f"latency_median_s_{percent}": round(float(np.median(late)), 4) if late else None,
                f"latency_reported_{percent}": 1 - _lost(live, published, bundle) / max(1, published.frames),
            }
    return {**found, "latency_p99_s": round(worst, 4)}


def _swap(bundle: Bundle, times: int) -> dict[str, Any]:
    usual, gaps = [], []
    with _live(bundle, LOADS[0] * _capacity(bundle)) as (live, _, published):
        live.pauses(2 * bundle.manifest.window.frames / bundle.manifest.window.rate)  # until every ring is full
        for _ in range(times):
            usual.append(max(live.pauses(2.0)))
            swapped = threading.Event()
            swapping = threading.Thread(target=_swapping, args=(live, served(bundle), swapped))
            swapping.start()
            gaps.append(max(live.pauses(2.0, until=swapped)))
            swapping.join()
    return {
        "swap_frames_lost": _lost(live, published, bundle),
        "swap_gap_s": figure(gaps).data(),
        "swap_gap_usual_s": figure(usual).data(),
    }


def _swapping(live: LiveWorker, model: Model, swapped: threading.Event) -> None:
    try:
        live.swap(model)
    finally:
        swapped.set()


@contextmanager
def _live(bundle: Bundle, frames_per_second: float) -> Iterator[tuple[LiveWorker, InProcessBroker, Published]]:
    """A worker in front of as many cameras as make that many frames; when the block ends all of them are processed."""
    settings, broker = served_settings(bundle), InProcessBroker()
    apply_topics(broker, settings)
    model = served(bundle)
    cameras = max(1, round(frames_per_second / settings.rate))
    label = restless(many_labels(bundle, 1)[0].text, EVENT_SECONDS)
    try:
        with live_worker(model, settings, broker, (label,)) as live:
            with live_cameras(bundle.golden().images, settings, broker, cameras) as published:
                yield live, broker, published
            processed(broker, settings)
    finally:
        broker.close()


@contextmanager
def _over_kafka(
    bundle: Bundle, node: BrokerNode, namespace: str, frames_per_second: float
) -> Iterator[tuple[LiveWorker, Broker, Settings, Published]]:
    """The same over a real Kafka, the cameras in a process of their own; `Published` is filled at the end."""
    settings = served_settings(bundle)
    kafka = settings.kafka.model_copy(update={"bootstrap": node.bootstrap})
    topics = settings.topics.model_copy(update={"namespace": namespace})
    settings = settings.model_copy(update={"kafka": kafka, "topics": topics})
    broker, label = connect(kafka), restless(many_labels(bundle, 1)[0].text, EVENT_SECONDS)
    try:
        apply_topics(broker, settings)
        with live_worker(served(bundle), settings, broker, (label,)) as live:
            with cameras_beside(bundle.path, settings, max(1, round(frames_per_second / settings.rate))) as published:
                yield live, broker, settings, published
            processed(broker, settings)
    finally:
        broker.close()


def _lost(live: LiveWorker, published: Published, bundle: Bundle) -> int:
    """Windows that were due and never scored."""
    due = sum(max(0, frames - bundle.manifest.window.frames + 1) for frames in published.by_camera.values())
    return due - live.windows


def _capacity(bundle: Bundle) -> float:
    """Frames per second of the model's path here, at this moment."""
    model = served(bundle)
    try:
        streams = Streams(model, model.embed(LabelSet(many_labels(bundle, 1), 0)), 16, batch=8)
        streams.open()
        streams.warm_up()
        rates = measure({"path": Call(streams.run, 8)}, rounds=5, seconds=1.0)
    finally:
        model.close()
    return figure(rates["path"].wall).value
