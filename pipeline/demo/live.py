"""The live demo: cameras play in real time, a subscriber receives the events, and the truth is compared with them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from engines.bundle.files import load
from engines.bundle.store import default_store, resolve
from pipeline.analysis.camera_streams import Geometry
from pipeline.analysis.ticks import SECOND
from pipeline.broker.reading import partitions_of, read_all
from pipeline.demo.recordings import Recording
from pipeline.demo.report import quantile
from pipeline.demo.shadow import compared
from pipeline.demo.stage import Stage, set_up
from pipeline.errors import ActionwireError
from pipeline.metrics import DROPS
from pipeline.one_machine.follow import Received, Subscriber
from pipeline.one_machine.processes import series
from pipeline.one_machine.screen import Screen
from pipeline.records.wire import iso
from pipeline.replay import evaluation
from pipeline.replay.coverage import Coverage, coverage
from pipeline.replay.truth import read_truth

_JOIN_SECONDS = 20.0
_DRAIN_SECONDS = 20.0


def run_live(
    recording: Recording,
    labels: tuple[str, ...],
    bootstrap: str | None,
    bundle: str,
    console: Console,
    shadow: str | None = None,
) -> dict[str, Any]:
    """Play a recording through every process for real and return the figures. Raises ActionwireError.

    shadow: a candidate that runs beside; the figures then say what it would have changed.
    """
    seconds = float(recording.truth["seconds"])
    with set_up(recording, labels, bootstrap, bundle, lambda text: console.print(text, style="dim"), shadow) as stage:
        subscriber = Subscriber(stage.broker, stage.settings.topics)
        before = _pages(stage) if shadow else {}
        try:
            _until_playing(stage)
            _watch(stage, subscriber.received, seconds, console)
            stage.remove_cameras()
            _until_settled(stage, subscriber.received)
            covered = _covered(stage)
            tried = {"shadow": _tried(stage, subscriber.received, before)} if shadow else {}
        finally:
            subscriber.close()
        console.print("replaying the frames that were recorded ...", style="dim")
        equal = replay_gives_the_same(stage, subscriber.received)
        return {**_figures(stage, subscriber.received, recording, labels, covered), **tried, "replay_equal": equal}


def _tried(stage: Stage, received: Received, before: Mapping[str, str]) -> dict[str, Any]:
    """What the candidate would have changed. before: the /metrics pages from before the cameras played."""
    events = [arrival.event for arrival in received.arrivals]
    worker, shadow = ((before[name], page) for name, page in _pages(stage).items())
    return compared(stage.broker, stage.settings, events, worker, shadow)


def _pages(stage: Stage) -> dict[str, str]:
    return {name: stage.metrics(name) for name in ("worker", "shadow")}


def _until_playing(stage: Stage) -> None:
    deadline = time.monotonic() + _JOIN_SECONDS
    while any(mount.zero is None for mount in stage.mounts.values()):
        stage.check_alive()
        if time.monotonic() > deadline:
            raise ActionwireError(f"ingest did not open every camera within {_JOIN_SECONDS:.0f} s")
        time.sleep(0.05)


def _watch(stage: Stage, received: Received, seconds: float, console: Console) -> None:
    begin = max(mount.zero or 0.0 for mount in stage.mounts.values())

    def headline() -> str:
        played = min(seconds, max(0.0, time.time() - begin))
        ids = {arrival.event.id for arrival in received.arrivals}
        return f"{played:5.1f} of {seconds:.0f} s   {len(stage.mounts)} cameras   {len(ids)} events"

    with Screen(console, received, headline) as screen:
        while time.time() < begin + seconds + 0.5:
            stage.check_alive()
            if received.failure:
                raise ActionwireError(f"the subscriber failed: {received.failure}")
            screen.refresh()
            time.sleep(0.2)


def _until_settled(stage: Stage, received: Received) -> None:
    """Wait until every camera has ended, everything is processed and no event is open."""
    frames = stage.settings.topics.name("frames")
    deadline = time.monotonic() + _DRAIN_SECONDS
    while time.monotonic() < deadline:
        lag = sum(sum(stage.broker.lag(group, frames, 5.0).values()) for group in stage.groups)
        if lag == 0 and not received.open_events and not received.statuses:
            return
        stage.check_alive()
        time.sleep(0.2)


def _figures(
    stage: Stage, received: Received, recording: Recording, labels: tuple[str, ...], covered: Coverage
) -> dict[str, Any]:
    zeros = {camera: mount.zero or 0.0 for camera, mount in stage.mounts.items()}
    cameras = [{**camera, "epoch": iso(round(zeros[camera["id"]] * SECOND))} for camera in recording.truth["cameras"]]
    truth = read_truth({**recording.truth, "cameras": cameras})
    events = [arrival.event for arrival in received.arrivals]
    figures = evaluation.report(evaluation.compare(truth, events, labels))
    scored = [one.latency for one in received.arrivals if one.event.phase != "ended" or one.event.reason == "score"]
    return {
        **figures,
        "event_latency_p50_s": quantile(scored, 0.50),
        "event_latency_p99_s": quantile(scored, 0.99),
        "coverage": covered.share,
        "ticks_captured": covered.captured,
        "ticks_encoded": covered.encoded,
        "broker": stage.broker_name,
        "seed": recording.truth["seed"],
    }


def _covered(stage: Stage) -> Coverage:
    """Compare what the frames topic holds with what the processes have counted. Raises ActionwireError."""
    worker, ingest = stage.metrics("worker"), stage.metrics("ingest")
    window = load(resolve(stage.settings.worker.bundle, default_store())).manifest.window
    return coverage(
        read_all(stage.broker, partitions_of(stage.broker, stage.settings.topics.name("frames"))),
        Geometry(window.frames, window.rate, window.stride),
        encodings=round(counter(worker, "actionwire_frames_total")),
        worker_dropped=dropped(worker),
        ingest_dropped=dropped(ingest),
    )


def replay_gives_the_same(stage: Stage, received: Received) -> bool:
    """True when a replay of the frames topic yields the subscriber's messages, byte for byte."""
    output = stage.folder / "replayed.jsonl"
    command = [sys.executable, "-m", "pipeline.cli", "replay", "--topic", "--config", str(stage.file)]
    done = subprocess.run([*command, "--json", str(output)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ActionwireError(f"replaying the recorded frames failed:\n{done.stderr.strip()[-2000:]}")
    return sorted(output.read_bytes().splitlines()) == sorted(arrival.raw for arrival in received.arrivals)


def counter(page: str, name: str) -> float:
    """The value of one series on a /metrics page, named with its labels as they stand there; 0 where it is absent."""
    return series(page, name) or 0.0


def dropped(page: str) -> dict[str, int]:
    """Frames that a process left out, by reason, from its /metrics page."""
    return {reason: round(counter(page, f'actionwire_dropped_total{{reason="{reason}"}}')) for reason in DROPS}
