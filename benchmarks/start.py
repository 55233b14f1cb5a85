"""How long a fresh process takes until it has answered, part by part, with filled caches."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from models import of_models, served_settings

from engines.bundle.files import Bundle
from pipeline.bench.cold_start import cold_start
from pipeline.bench.many_labels import many_labels
from pipeline.bench.worker_rate import preload
from pipeline.broker import connect
from pipeline.broker.topics import apply_topics
from pipeline.local.broker_node import BrokerNode

CAMERAS = 4
LABELS = 10

_ENGINE = """
import json, sys, time
began = time.perf_counter()
parts = {}
def part(name):
    global began
    now = time.perf_counter()
    parts[name] = now - began
    began = now
from pathlib import Path
import numpy
from engines.backends import open_engine, ov
from engines.bundle.files import load
part("import")
bundle = load(Path(sys.argv[1]))
part("read_and_hash")
engine = open_engine(bundle, "openvino", precision="int8")
part("compile_and_probe")
engine.encode(bundle.golden().images[:1])
part("first_frame")
print(json.dumps({"total": sum(parts.values()), **parts}))
"""


def start(*, quick: bool) -> dict[str, Any]:
    """Return seconds until the first answer, by parts, each the median of some starts with filled caches.

    `cold_start_s_<model>`: a worker, from its command to the first window that it has scored, over a real Kafka whose
    frames are there; ten labels, embedded before. `engine_start_s_<model>`: the engine alone, to its first item. The
    ViT-B/32's are also there without a model's name.
    """
    return of_models(quick, lambda bundle: _model(bundle, 2 if quick else 5))


def _model(bundle: Bundle, runs: int) -> dict[str, Any]:
    engines = [_engine(bundle) for _ in range(1 + runs)]
    return {"cold_start_s": _medians(_workers(bundle, 1 + runs)[1:]), "engine_start_s": _medians(engines[1:])}


def _workers(bundle: Bundle, runs: int) -> list[dict[str, float]]:
    """Start a worker so often, each in a group of its own; the first one fills the caches."""
    settings = served_settings(bundle)
    with tempfile.TemporaryDirectory(prefix="actionwire-bench-") as folder, BrokerNode(Path(folder) / "broker") as node:
        settings = settings.model_copy(
            update={"kafka": settings.kafka.model_copy(update={"bootstrap": node.bootstrap})}
        )
        broker = connect(settings.kafka)
        apply_topics(broker, settings)
        preload(broker, settings, bundle.golden().images, CAMERAS, 2 * bundle.manifest.window.frames)
        broker.close()
        document = {
            "kafka": {"bootstrap": node.bootstrap},
            "rate": settings.rate,
            "labels": [label.text for label in many_labels(bundle, LABELS)],
        }
        worker = settings.worker.model_dump(mode="json") | {"start": "begin"}
        return [cold_start({**document, "worker": worker | {"group": f"start-{number}"}}) for number in range(runs)]


def _engine(bundle: Bundle) -> dict[str, float]:
    shown = subprocess.run(
        [sys.executable, "-c", _ENGINE, str(bundle.path)], check=True, capture_output=True, text=True
    )
    parts: dict[str, float] = json.loads(shown.stdout)
    return parts


def _medians(runs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The median of each part by itself; so they add up to about the total."""
    runs = list(runs)
    return {part: round(median(run[part] for run in runs), 3) for part in runs[0]}
