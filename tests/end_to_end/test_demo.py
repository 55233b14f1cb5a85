"""The demo as a stranger runs it: every process for real, and nothing left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engines.bundle.files import load, seal
from engines.bundle.store import demo_path
from engines.testing import tiny_bundle

COMMAND = [sys.executable, "-m", "pipeline.cli", "demo", "--cameras", "2", "--seconds", "12", "--seed", "20321"]
NAMES = (
    "event_f1", "precision", "recall", "onset_delay_median_s", "false_alarms_per_camera_hour", "event_latency_p50_s",
    "event_latency_p99_s", "coverage", "events", "truth_events", "broker",
)  # fmt: skip


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The demo with a bundle that knows colours: where it is interrupted before its model has said anything."""
    bundle = tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
    return [*COMMAND, "--bundle", str(bundle)]


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """An environment whose temporary files all land in one folder that can be looked at."""
    (tmp_path / "tmp").mkdir()
    return {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "COLUMNS": "120"}


def children(environment: dict[str, str]) -> list[str]:
    """Processes whose temporary folder is the demo's: whatever it started and did not end."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={environment['TMPDIR']}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def too_chatty(path: Path) -> Path:
    """The shipped bundle with thresholds that every window reaches, sealed as a version of its own."""
    shutil.copytree(demo_path(), path)
    events = load(path).manifest.events
    always = {"enter": 1e-9, "exit": 5e-10}
    labels = {text: one.model_copy(update=always) for text, one in events.labels.items()}
    changed = events.model_copy(update={"defaults": events.defaults.model_copy(update=always), "labels": labels})
    seal(path, events=changed, version="0.0.1")
    return path


@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_the_demo_runs_and_reports(surroundings: dict[str, str], tmp_path: Path) -> None:
    """Kafka, RTSP, ingest and worker start, every captured tick is encoded, the report has its names, all is gone.

    Beside the worker a shadow runs a candidate that calls every window an event: that shows in what it would have
    changed, and the events topic is what it is without it.
    """
    report = tmp_path / "report.json"
    options = ["--shadow", str(too_chatty(tmp_path / "candidate")), "--json", str(report)]

    done = subprocess.run(
        [*COMMAND, *options], env=surroundings, capture_output=True, text=True, check=False, timeout=280
    )

    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    figures = json.loads(report.read_text())
    assert set(NAMES) <= set(figures)
    assert 0.99 <= figures["coverage"] <= 1
    assert figures["ticks_captured"] >= 2 * 12 * 4 - 8
    assert figures["replay_equal"] is True
    assert "Kafka" in figures["broker"]
    shadow = figures["shadow"]
    assert shadow["new"] >= 2 * len(figures["labels_watched"]) - figures["events"]
    assert shadow["same"] + shadow["moved"] + shadow["gone"] == figures["events"]
    assert shadow["frames"] == figures["ticks_encoded"] and shadow["cpu_ms_per_frame"] > 0
    assert children(surroundings) == []
    assert list(Path(surroundings["TMPDIR"]).glob("actionwire-*")) == []


@pytest.mark.kafka
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("moment", "told", "expected"),
    [
        ("starting Apache Kafka", signal.SIGINT, 130),
        ("starting ingest", signal.SIGINT, 130),
        ("starting Apache Kafka", signal.SIGTERM, 143),
        ("starting ingest", signal.SIGTERM, 143),
    ],
)
def test_a_demo_that_is_told_to_end_leaves_nothing_behind(
    surroundings: dict[str, str], command: list[str], moment: str, told: signal.Signals, expected: int
) -> None:
    """Told while the broker starts or while cameras play, it ends every child and removes every folder."""
    with subprocess.Popen(
        command, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        assert demo.stdout is not None
        lines = []
        for line in demo.stdout:
            lines.append(line)
            if moment in line:
                break
        demo.send_signal(told)
        rest = demo.stdout.read()
        code = demo.wait(timeout=60)

    assert code == expected, "".join(lines) + rest
    deadline = time.monotonic() + 10
    while children(surroundings) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert children(surroundings) == []
    assert list(Path(surroundings["TMPDIR"]).glob("actionwire-*")) == []
