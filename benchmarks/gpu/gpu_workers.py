"""Whole workers against the bare engine: one, two and four processes on one device, over a real Kafka.

Everything takes backend and precision as an argument, so that a test runs it on a CPU, small.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from engines.backends import open_engine
from engines.bundle.files import Bundle
from pipeline.bench.fleet import fleet_rate
from pipeline.bench.worker_rate import preload
from pipeline.broker import connect
from pipeline.broker.topics import apply_topics
from pipeline.config.settings import Settings
from pipeline.local.broker_node import BrokerNode

PROCESSES = (1, 2, 4)
CAMERAS = 256
BATCH = 64
START_FRAMES = 20_000
"""Of a topic, beside what is measured: what workers read while others still start."""


def workers(
    bundle: Bundle,
    backend: str,
    precision: str,
    *,
    processes: Sequence[int] = PROCESSES,
    seconds: float = 10.0,
    cameras: int = CAMERAS,
    start_frames: int = START_FRAMES,
    node: BrokerNode | None = None,
) -> dict[str, Any]:
    """Return `engine_frames_per_second`, and for each number of processes their rate and its ratio to the engine's.

    node: a broker that runs already; else one is started. Raises what opening the engine and the workers raise.
    """
    alone = engine_rate(bundle, backend, precision, seconds=min(3.0, seconds))
    found: dict[str, Any] = {"engine_frames_per_second": round(alone, 1)}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="actionwire-bench-"))
        node = node or stack.enter_context(BrokerNode(Path(folder) / "broker"))
        worker = {"bundle": str(bundle.path), "backend": backend, "precision": precision, "overload": "queue"}
        document: dict[str, Any] = {
            "kafka": {"bootstrap": node.bootstrap},
            "topics": {"namespace": f"gpu-{time.time_ns()}"},
            "rate": bundle.manifest.window.rate,
            "labels": [bundle.references().texts[0]],
            "worker": {**worker, "start": "begin"},
        }
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
            rate = fleet_rate(own_group, count, seconds=seconds)
            found[f"processes_{count}"] = {"frames_per_second": round(rate, 1), "of_engine": round(rate / alone, 3)}
    return found


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
