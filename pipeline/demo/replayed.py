"""The demo's scenes by replay: many seeds, as fast as possible, pooled into one report."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.demo.recordings import Recording
from pipeline.errors import ActionwireError
from pipeline.records.events import decode_event
from pipeline.replay import evaluation
from pipeline.replay.truth import read_truth


def run_replay(
    recordings: Sequence[Callable[[], Recording]],
    labels: tuple[str, ...],
    bundle: str,
    progress: Callable[[int, str], None],
) -> dict[str, Any]:
    """Replay each recording with `actionwire replay`, in one process without a broker, and pool the outcomes.

    progress: called with how many recordings are done and the outcome of the last one.
    Raises ActionwireError when a replay fails.
    """
    outcomes: list[evaluation.Comparison] = []
    seeds: dict[str, float | None] = {}
    for number, make in enumerate(recordings, 1):
        found = make()
        outcome = _replay(found, labels, bundle)
        outcomes.append(outcome)
        f1 = evaluation.report(outcome)["event_f1"]
        seeds[str(found.truth["seed"])] = f1
        progress(number, f"seed {found.truth['seed']}: F1 {'-' if f1 is None else f'{f1:.3f}'}")
    figures = evaluation.report(evaluation.pool(outcomes))
    known = [f1 for f1 in seeds.values() if f1 is not None]
    return {**figures, "worst_seed_f1": min(known, default=None), "seeds": seeds, "broker": "in-process"}


def _command(recording: Recording, labels: tuple[str, ...], bundle: str, config: Path, events: Path) -> list[str]:
    cameras = [part for camera, file in recording.files.items() for part in ("--camera", f"{camera}={file}")]
    watched = [part for text in labels for part in ("--label", text)]
    return [
        sys.executable, "-m", "pipeline.cli", "replay", *cameras, *watched, "--config", str(config),
        "--bundle", bundle, "--bootstrap", "in-process", "--json", str(events),
    ]  # fmt: skip


def _replay(recording: Recording, labels: tuple[str, ...], bundle: str) -> evaluation.Comparison:
    with tempfile.TemporaryDirectory(prefix="actionwire-replay-") as folder:
        config, events = Path(folder) / "actionwire.yaml", Path(folder) / "events.jsonl"
        config.touch()  # otherwise settings in the current folder would decide the figures
        command = _command(recording, labels, bundle, config, events)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ActionwireError(f"the replay of {recording.folder} failed:\n{done.stderr.strip()[-2000:]}")
        messages = [decode_event(line) for line in events.read_bytes().splitlines()]
    return evaluation.compare(read_truth(recording.truth), messages, labels)
