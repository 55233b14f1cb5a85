"""Whole workers against the bare engine: one, two and four processes on one device, over a real Kafka.

Everything takes backend and precision as an argument, so that a test runs it on a CPU, small.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from engines.backends import open_engine
from engines.bundle.files import Bundle
from pipeline.bench.fleet import fleet_rate
from pipeline.bench.worker_rate import preload, worker_rate
from pipeline.broker import connect
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.topics import apply_topics
from pipeline.config.settings import Settings
from pipeline.local.broker_node import BrokerNode
from pipeline.records.labels import Label
from pipeline.worker.model import Model

PROCESSES = (1, 2, 4)
CAMERAS = 256
BATCH = 64
START_FRAMES = 20_000
"""Of a topic, beside what is measured: what workers read while others still start."""


def one_worker(
    bundle: Bundle, backend: str, precision: str, *, seconds: float = 10.0, cameras: int = CAMERAS
) -> dict[str, Any]:
    """Return the rate of one worker without Kafka, as `in_process`: what a machine that cannot have one shows.

    Raises what opening the engine and the worker raise.
    """
    alone = engine_rate(bundle, backend, precision, seconds=min(3.0, seconds))
    settings = Settings.model_validate(_document(bundle, backend, precision))
    broker, model = InProcessBroker(), Model(bundle, settings)
    try:
        apply_topics(broker, settings)
        warm = 2 * cameras * bundle.manifest.window.frames
        preload(broker, settings, bundle.golden().images, cameras, round((warm + 2 * alone * seconds) / cameras))
        labels = (Label("one", bundle.references().texts[0]),)
        rate = worker_rate(model, settings, broker, labels, warm=warm, seconds=seconds)
    finally:
        model.close()
        broker.close()
    return {"in_process": _of_engine(rate.frames_per_second, alone) | {"idle_share": round(rate.idle_share, 3)}}


def workers(
    bundle: Bundle,
    backend: str,
    precision: str,
    node: BrokerNode,
    *,
    processes: Sequence[int] = PROCESSES,
    seconds: float = 10.0,
    cameras: int = CAMERAS,
    start_frames: int = START_FRAMES,
) -> dict[str, Any]:
    """Return `engine_frames_per_second`, and for each number of processes their rate and its ratio to the engine's.

    node: a broker that runs. Raises what opening the engine and the workers raise.
    """
    alone = engine_rate(bundle, backend, precision, seconds=min(3.0, seconds))
    found: dict[str, Any] = {"engine_frames_per_second": round(alone, 1)}
    document = _document(bundle, backend, precision) | {"kafka": {"bootstrap": node.bootstrap}}
    settings = Settings.model_validate(document)
    broker = connect(settings.kafka)
    try:
        apply_topics(broker, settings)
        frames = start_frames + max(processes) * alone * seconds
        preload(broker, settings, bundle.golden().images, cameras, round(frames / cameras))
    finally:
        broker.close()
    for count in processes:
        own_group = {**document, "worker": {**document["worker"], "group": f"gpu-{count}"}}
        found[f"processes_{count}"] = _of_engine(fleet_rate(own_group, count, seconds=seconds), alone)
    return found


def _document(bundle: Bundle, backend: str, precision: str) -> dict[str, Any]:
    """Settings of a deployment of its own, that starts at the first frame and sheds nothing."""
    worker = {"bundle": str(bundle.path), "backend": backend, "precision": precision, "overload": "queue"}
    return {
        "topics": {"namespace": f"gpu-{time.time_ns()}"},
        "rate": bundle.manifest.window.rate,
        "labels": [bundle.references().texts[0]],
        "worker": {**worker, "start": "begin"},
    }


def _of_engine(rate: float, alone: float) -> dict[str, float]:
    return {"frames_per_second": round(rate, 1), "of_engine": round(rate / alone, 3)}


def engine_rate(bundle: Bundle, backend: str, precision: str, *, seconds: float) -> float:
    """Return frames per second of the engine alone, encoded and each the end of a window."""
    engine = open_engine(bundle, backend, precision=precision)  # type: ignore[arg-type]
    golden = bundle.golden()
    images = np.resize(golden.images, (BATCH, *golden.images.shape[1:]))
    windows = np.resize(golden.windows, (BATCH, *golden.windows.shape[1:]))
    engine.encode(images)
    engine.embed(windows)
    began, frames = time.perf_counter(), 0
    while not frames or time.perf_counter() - began < seconds:
        engine.encode(images)
        engine.embed(windows)
        frames += BATCH
    rate = frames / (time.perf_counter() - began)
    engine.close()
    return rate
