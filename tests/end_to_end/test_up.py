"""The first hour: a camera, four lines of settings, one command; and nothing left when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.demo.recordings import recording
from pipeline.local.ports import free_port, is_free

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

PROGRAM = [sys.executable, "-m", "pipeline.cli"]


class Home:
    """A user's folder, the ports that belong to it, and the processes that were started in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.broker, self.worker, self.ingest = folder, free_port(), free_port(), free_port()
        self.environment = {
            **os.environ,
            "XDG_STATE_HOME": str(folder / "state"),
            "ACTIONWIRE_HTTP__WORKER_PORT": str(self.worker),
            "ACTIONWIRE_HTTP__INGEST_PORT": str(self.ingest),
            "COLUMNS": "120",
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One of our commands, to its end."""
        return subprocess.run(
            [*PROGRAM, *arguments], env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False
        )

    def start(self, *arguments: str, output: Path) -> subprocess.Popen[bytes]:
        """One of our commands, in the background."""
        with output.open("wb") as log:
            return subprocess.Popen(
                [*PROGRAM, *arguments], env=self.environment, cwd=self.folder, stdout=log, stderr=log
            )

    def up(self, *options: str) -> subprocess.Popen[bytes]:
        """`actionwire up`; what it prints is in `said`."""
        return self.start("up", "--broker-port", str(self.broker), *options, output=self.folder / "up.log")

    @property
    def said(self) -> str:
        """What `up` has printed."""
        return (self.folder / "up.log").read_text()

    def left_behind(self) -> list[str]:
        """Processes of this user's folder, and its ports that are taken."""
        mark = f"XDG_STATE_HOME={self.environment['XDG_STATE_HOME']}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        ports = (self.broker, self.worker, self.ingest)
        return [*found, *(f"port {port}" for port in ports if not is_free(port))]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A machine on which nothing of ours has run yet, but for the jars in the user's cache."""
    made = Home(tmp_path)
    yield made
    assert made.left_behind() == []


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes], home: Home, seconds: float = 180.0) -> None:
    """Wait until it holds, or fail with what was printed."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, home.said
        time.sleep(0.1)


def test_four_lines_and_one_command(home: Home) -> None:
    """A file that is served as a camera gives events; both processes are ready; Ctrl-C ends all and leaves nothing.

    camera serve ─> up: broker, topics, worker, ingest ─> "started" ─> Ctrl-C
    """
    film = recording(20321, 2, 12.0).files["camera-2"]  # somebody crouches in it
    port = free_port()
    camera = home.start("camera", "serve", str(film), "--port", str(port), output=home.folder / "camera.log")
    (home.folder / "actionwire.yaml").write_text(
        f"cameras:\n  door:\n    url: rtsp://127.0.0.1:{port}/camera-2\nlabels: [a person crouches]\n"
    )
    try:
        up = home.up()
        until(lambda: "started  a person crouches" in home.said, up, home)
        asked = home.run("ready")
        assert asked.returncode == 0, asked.stderr
        status = home.run("status", "--bootstrap", f"127.0.0.1:{home.broker}")
        assert "door" in status.stdout and max(map(len, status.stdout.splitlines())) <= 120

        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0, home.said
    finally:
        camera.terminate()
        camera.wait()

    for line in ("starting Apache Kafka", "camera door is online: h264 320x240", "worker: ready", "stopped"):
        assert line in home.said, line
    logs = home.folder / "state" / "actionwire" / "logs"
    assert f"logs in {logs}" in home.said
    assert {one.name for one in logs.iterdir()} == {"broker.log", "worker.log", "ingest.log"}
    assert (logs / "worker.log").read_text().count("partitions assigned") < 64
    assert "watching" in (logs / "worker.log").read_text()
    assert home.left_behind() == []


def test_an_end_at_the_start_leaves_nothing_behind(home: Home) -> None:
    """SIGTERM while the broker starts: all that has begun is undone, and it is no failure."""
    (home.folder / "actionwire.yaml").write_text("cameras: {door: {url: door.mp4}}\n")
    up = home.up()
    until(lambda: "starting Apache Kafka" in home.said, up, home)

    up.terminate()

    assert up.wait(60) == 0 and "stopped" in home.said


def test_what_a_person_must_change_ends_everything(home: Home) -> None:
    """A bundle that is not there: exit code 2, one line with the reason and the log, and nothing runs on."""
    (home.folder / "actionwire.yaml").write_text("cameras: {door: {url: door.mp4}}\nworker: {bundle: ./gone}\n")

    up = home.up()

    assert up.wait(120) == 2, home.said
    (line,) = (one for one in home.said.splitlines() if one.startswith("error: "))
    assert "gone" in line and str(home.folder / "state") in line


def test_a_broker_that_is_named_is_not_replaced(home: Home) -> None:
    """Nobody answers at the address of the settings: exit code 3, and no broker is started in its place."""
    file = home.folder / "actionwire.yaml"
    file.write_text(f"cameras: {{door: {{url: door.mp4}}}}\nkafka: {{bootstrap: '127.0.0.1:{free_port()}'}}\n")

    done = home.run("up")

    assert done.returncode == 3, done.stderr
    assert "starting Apache Kafka" not in done.stdout


def test_without_settings_it_says_what_to_write(home: Home) -> None:
    """No file and no camera: exit code 2."""
    done = home.run("up")

    assert done.returncode == 2 and "write ./actionwire.yaml" in done.stderr
