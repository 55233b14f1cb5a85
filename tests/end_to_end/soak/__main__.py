"""Cameras and labels come and go and servers are killed, for minutes; nothing may grow, and nothing may break.

    python tests/end_to_end/soak [--seconds 720] [--json FILE] [--keep FOLDER]

One real ingest and one real worker over an Apache Kafka of their own watch eight cameras; one in four is odd. Every
twenty seconds one camera is added or removed, and one label likewise, by an edit of the settings file, and two servers
are killed; they are back ten seconds later.

Prints what ingest and worker hold every twenty seconds. Exit code 0: no traceback in a log, both are still the first
process of their name, events and frames of every camera came to the end, and neither memory nor threads nor descriptors
grow. Linux only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml
from figures import STARTING_SECONDS, Held, grows, growth, held
from street import SHOWN, Street

from engines.testing import tiny_bundle
from pipeline import child_process
from pipeline.broker import connect
from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of, read_all
from pipeline.broker.topics import apply_topics
from pipeline.config.reading import load
from pipeline.local.broker_node import TEST_OVERRIDES, BrokerNode
from pipeline.local.ports import free_port

ROUND_SECONDS = 20.0
AWAY_SECONDS = 10.0
CAMERAS = 8
LATE_ROUNDS = 3
"""What must have come within so many rounds: key pictures are up to 20 s apart, and a server is away for ten."""
PROCESSES = ("ingest", "worker")


def main() -> int:
    """Run, print the report, and say by the exit code whether it is good."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=720.0, help="how long; 12 minutes, where nobody says")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report to a file too")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave logs and the broker's data there")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="actionwire-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        report = run(options.seconds, folder)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({name: value for name, value in report.items() if name != "held"}, indent=1))
    return 0 if not report["faults"] else 1


def run(seconds: float, folder: Path) -> dict[str, Any]:
    """The whole soak; `faults` of the report is empty where it is good."""
    with ExitStack() as stack:
        node = stack.enter_context(BrokerNode(folder / "broker", overrides=TEST_OVERRIDES))
        street = stack.enter_context(Street(folder))
        settings = Edited(folder, node.bootstrap, street)
        loaded = load(settings.file)
        broker = connect(loaded.kafka)
        stack.callback(broker.close)
        apply_topics(broker, loaded)
        processes = {name: start(name, settings.file, folder, stack) for name in PROCESSES}
        series = watch(seconds, street, settings, processes)
        ended = [name for name, process in processes.items() if process.poll() is not None]
        late = {name: _late(broker, loaded.topics.name(name)) for name in ("events", "frames")}
    logs = {name: (folder / f"{name}.log").read_text(errors="replace") for name in PROCESSES}
    after = min(STARTING_SECONDS, seconds / 2)
    faults = [f"{name} has ended" for name in ended]
    faults += [f"{name}: a traceback in its log" for name, text in logs.items() if "Traceback" in text]
    faults += [f"{name}: it was started again" for name, text in logs.items() if "starting it again" in text]
    faults += [f"{name}: {what}" for name in PROCESSES for what in grows(series[name], after)]
    faults += [] if late["events"] else ["no event in the last rounds"]
    faults += [f"{name}: no frame in the last rounds" for name in settings.lasting if not late["frames"][name]]
    return {
        "seconds": seconds,
        "faults": faults,
        "connections": logs["ingest"].count("reason=opened"),
        "events in the last rounds": late["events"].total(),
        "growth a minute": {name: growth(series[name], after) for name in PROCESSES},
        "held": {name: [[getattr(one, key) for key in Held.__slots__] for one in series[name]] for name in PROCESSES},
    }


def start(name: str, file: Path, folder: Path, stack: ExitStack) -> subprocess.Popen[bytes]:
    """Ingest or worker; it ends with the stack."""
    log = stack.enter_context((folder / f"{name}.log").open("ab"))
    command = [sys.executable, "-m", "pipeline.cli", name, "--config", str(file)]
    process = child_process.start(command, output=log)
    stack.callback(_stop, process)
    return process


def watch(
    seconds: float, street: Street, settings: Edited, processes: dict[str, subprocess.Popen[bytes]]
) -> dict[str, list[Held]]:
    """Round after round: look, edit, kill, and let what was killed come back."""
    series: dict[str, list[Held]] = {name: [] for name in processes}
    begun = time.monotonic()
    print(f"{'s':>5} {'cameras':>7}  " + "  ".join(f"{name:^34}" for name in processes), flush=True)
    while (since := time.monotonic() - begun) < seconds:
        for name, process in processes.items():
            series[name].append(held(process.pid, since))
        now = (series[name][-1] for name in processes)
        texts = (
            f"{one.megabytes:6.1f} MB {one.threads:3} thr {one.descriptors:3} fd {one.cpu_seconds:5.0f} s"
            for one in now
        )
        print(f"{since:5.0f} {len(settings.cameras):7}  " + "  ".join(texts), flush=True)
        settings.change()
        back = street.strike()
        time.sleep(AWAY_SECONDS)
        back()
        time.sleep(max(0.0, begun + ROUND_SECONDS * (len(series["ingest"])) - time.monotonic()))
    return series


def _line(one: Held) -> str:
    return f"{one.megabytes:6.1f} MB {one.threads:3} thr {one.descriptors:3} fd {one.cpu_seconds:5.0f} s"


class Edited:
    """The settings file: cameras and labels that come and go by turns."""

    def __init__(self, folder: Path, bootstrap: str, street: Street) -> None:
        self.file = folder / "actionwire.yaml"
        self._next = street.cameras()
        self.cameras = dict(next(self._next) for _ in range(CAMERAS))
        self._labels: Iterator[list[str]] = itertools.cycle([list(SHOWN[:3]), list(SHOWN)])
        self._turn = itertools.cycle([self._remove, self._add])
        self._document = {
            "kafka": {"bootstrap": bootstrap},
            "topics": {"partitions": 4},
            "ingest": {"short_side": 64},
            "worker": {"bundle": str(tiny_bundle(folder / "tiny", frames=4)), "backend": "onnxruntime", "threads": 1},
            "http": {"worker_port": free_port(), "ingest_port": free_port(), "per_camera_metrics": 20},
        }
        self._write()

    @property
    def lasting(self) -> list[str]:
        """The cameras that were there long enough for their frames to have come."""
        return list(self.cameras)[:-LATE_ROUNDS]

    def change(self) -> None:
        """Remove the camera that was there longest, or add another; one label comes or goes."""
        next(self._turn)()
        self._write()

    def _remove(self) -> None:
        del self.cameras[next(iter(self.cameras))]

    def _add(self) -> None:
        name, url = next(self._next)
        self.cameras[name] = url

    def _write(self) -> None:
        cameras = {name: {"url": url} for name, url in self.cameras.items()}
        beside = self.file.with_suffix(".new")
        beside.write_text(yaml.safe_dump({**self._document, "cameras": cameras, "labels": next(self._labels)}))
        beside.replace(self.file)


def _late(broker: Broker, topic: str) -> Counter[str]:
    """Records of the last rounds, by camera."""
    since = (time.time() - LATE_ROUNDS * ROUND_SECONDS) * 1000
    records = read_all(broker, partitions_of(broker, topic))
    return Counter((record.key or b"").decode() for record in records if record.timestamp_ms >= since)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        child_process.kill_group(process)


if __name__ == "__main__":
    sys.exit(main())
