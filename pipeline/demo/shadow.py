"""A candidate beside the bundle that the demo runs: a store of both, and what the shadow worker would have changed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engines.bundle.channels import CANDIDATE
from engines.bundle.files import load
from engines.bundle.store import default_store, publish, resolve
from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of, read_all
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.one_machine.processes import series
from pipeline.records.events import ActionEvent, decode_event
from pipeline.replay.difference import difference, report
from pipeline.worker.shadow.settings import shadow_settings

_CPU, _FRAMES = "process_cpu_seconds_total", "actionwire_frames_total"


@contextmanager
def own_store(folder: Path, bundle: str, candidate: str) -> Iterator[str]:
    """Let all processes that are started inside the block follow a store with these two; yield the name of both.

    Raises ConfigurationError for a candidate of another name, and what `engines.bundle.store.resolve` raises.
    """
    used, tried = (load(resolve(one, default_store())) for one in (bundle, candidate))
    if used.manifest.name != tried.manifest.name:
        raise ConfigurationError(
            f"the candidate is {tried.label} and the demo runs {used.label}: a channel is of one name, so export or "
            f"calibrate the candidate with --name {used.manifest.name}"
        )
    store, before = folder / "store", os.environ.get("ACTIONWIRE_STORE")
    publish(store, used.path)
    publish(store, tried.path, CANDIDATE)
    os.environ["ACTIONWIRE_STORE"] = str(store)
    try:
        yield used.manifest.name
    finally:
        if before is None:
            del os.environ["ACTIONWIRE_STORE"]
        else:
            os.environ["ACTIONWIRE_STORE"] = before


def compared(
    broker: Broker,
    settings: Settings,
    events: Sequence[ActionEvent],
    worker: tuple[str, str],
    shadow: tuple[str, str],
) -> dict[str, Any]:
    """What the candidate would have changed, and what it took.

    events: messages of the bundle in use. worker, shadow: /metrics pages of the two processes, before and after.
    """
    topic = shadow_settings(settings).topics.name("events")
    tried = [decode_event(record.value or b"") for record in read_all(broker, partitions_of(broker, topic))]
    found = report(difference(events, tried))
    frames, of_the_worker = _grown(shadow, _FRAMES), _grown(worker, _FRAMES)
    return {
        **{kind: found[kind] for kind in ("same", "moved", "new", "gone")},
        "labels": found["labels"],
        "frames": round(frames),
        "frames_of_the_worker": round(of_the_worker),
        "cpu_ms_per_frame": round(1e3 * _grown(shadow, _CPU) / max(1.0, frames), 1),
        "cpu_ms_per_frame_of_the_worker": round(1e3 * _grown(worker, _CPU) / max(1.0, of_the_worker), 1),
    }


def _grown(pages: tuple[str, str], name: str) -> float:
    before, after = (series(page, name) or 0.0 for page in pages)
    return after - before
