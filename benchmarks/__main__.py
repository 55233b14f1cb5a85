"""What this machine does with Actionwire, as ratios of one run.

    make bench JSON=FILE [ONLY=engine,start] [QUICK=1] [RECORD=1]

Noise is printed beside every figure and never decides the exit status: 0 done, 1 a measurement failed, 2 wrong use.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import structlog
from broker import broker
from cameras import cameras
from engine import engine
from examples import examples
from kinds import kinds
from labels import labels
from live import latency, swap
from memory import memory
from paper import paper
from recovery import recovery
from start import start
from worker import worker

from engines.backends.network import thread_count
from engines.bench.history import append
from engines.bench.throughput import cpu_flags, machine

SECTIONS = {
    "engine": engine,
    "worker": worker,
    "paper": paper,
    "kinds": kinds,
    "labels": labels,
    "examples": examples,
    "cameras": cameras,
    "memory": memory,
    "latency": latency,
    "swap": swap,
    "broker": broker,
    "recovery": recovery,
    "start": start,
}
"""Each takes `quick` and returns its figures by key: {value, low, high} for ratios, or plain data."""


def main() -> None:
    """Run the sections, print a line for each figure, and write the file."""
    parser = argparse.ArgumentParser(
        prog="make bench", description="Measure Actionwire on this machine, as ratios of one run."
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--only", default="", help=f"sections, separated by commas: {', '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, and the demo's model alone")
    parser.add_argument("--record", action="store_true", help="add the run to this machine's file in benchmarks/")
    wanted = parser.parse_args()
    logging.getLogger("kafka").setLevel(logging.ERROR)  # that a worker left its group is no news here
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    names = [name for name in wanted.only.split(",") if name] or list(SECTIONS)
    if unknown := [name for name in names if name not in SECTIONS]:
        parser.error(f"there is no section {', '.join(unknown)}; choose from {', '.join(SECTIONS)}")
    found: dict[str, object] = {
        "machine": machine(),
        "cpu_flags": cpu_flags(),
        "threads": thread_count(None),
        "quick": wanted.quick,
    }
    failed = False
    for name in names:
        began = time.perf_counter()
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            figures = SECTIONS[name](quick=wanted.quick)
        except Exception as error:  # one section must not cost the figures of the others
            print(f"error: {name}: {error}", file=sys.stderr)
            failed = True
            continue
        found |= figures | {f"{name}_seconds": round(time.perf_counter() - began, 1)}
        for key, value in figures.items():
            print(f"{key:<36} {_shown(value)}")
        if wanted.json:  # after each section: a run that is interrupted keeps what it has
            wanted.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if wanted.record:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        print(f"recorded in {append(Path(__file__).parent, found, at=at, commit=_commit())}", file=sys.stderr)
    sys.exit(1 if failed else 0)


def _commit() -> str | None:
    """The commit that is checked out, with a + where files differ from it; None outside of a repository."""
    try:
        command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _shown(value: object) -> str:
    if isinstance(value, dict) and set(value) == {"value", "low", "high"}:
        return f"{value['value']:.3g}  ({value['low']:.3g} to {value['high']:.3g})"
    return json.dumps(value)


if __name__ == "__main__":
    main()
