"""How long a worker takes from its command to its first answer, part by part, as its log and its metrics tell.

command ... import, settings ... bundle and labels ... group, assignment ... first window
        |"health and metrics"  |"watching"           |"partitions assigned"  |actionwire_windows_total
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline import child_process
from pipeline.errors import ActionwireError
from pipeline.local.ports import free_port
from pipeline.one_machine.processes import command, fetch, last_lines, series

PARTS = {
    "import": "health and metrics served",
    "bundle_and_labels": "watching",
    "group_and_assignment": "partitions assigned",
}
"""Part -> line of the log with which it ends."""
_LOOK_SECONDS = 0.01
_WAIT_SECONDS = 120.0


def cold_start(document: Mapping[str, Any]) -> dict[str, float]:
    """Return the seconds of each part, the last of them `first_window`, and their `total`.

    document: settings of a deployment whose frames topic is full, so that the first window is due at once.
    Raises ActionwireError where the worker ends, or scores none within two minutes.
    """
    port = free_port()
    settings = {**document, "http": {"worker_port": port}, "log": {"format": "json"}}
    with tempfile.TemporaryDirectory(prefix="actionwire-bench-") as folder:
        file, log = Path(folder) / "actionwire.yaml", Path(folder) / "worker.log"
        file.write_text(json.dumps(settings), encoding="utf-8")
        with log.open("wb") as output:
            began = time.time()
            process = child_process.start(command("worker", "--no-supervise", "--config", str(file)), output=output)
        try:
            ended = _until_scored(process, log, port)
            lines = _lines(log)
        finally:
            process.terminate()
            process.wait()
    return _parts(began, lines, ended)


def _until_scored(process: subprocess.Popen[bytes], log: Path, port: int) -> float:
    """Return when the first window was scored. The page is asked for only once that can be soon: it takes CPU time."""
    deadline, assigned = time.monotonic() + _WAIT_SECONDS, PARTS["group_and_assignment"].encode()
    while process.poll() is None and time.monotonic() < deadline:
        page = fetch(f"http://127.0.0.1:{port}/metrics") if assigned in log.read_bytes() else None
        if page and series(page, "actionwire_windows_total"):
            return time.time()
        time.sleep(_LOOK_SECONDS)
    raise ActionwireError(f"the worker scored no window; its log ends with:\n{last_lines(log)}")


def _lines(log: Path) -> dict[str, float]:
    """When each message of the log was first written, in seconds since 1970."""
    found: dict[str, float] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            said = json.loads(line)
        except ValueError:  # of a library that writes by itself
            continue
        found.setdefault(said["message"], datetime.fromisoformat(said["timestamp"]).timestamp())
    return found


def _parts(began: float, lines: Mapping[str, float], ended: float) -> dict[str, float]:
    times = [began, *(lines[message] for message in PARTS.values()), ended]
    names = [*PARTS, "first_window"]
    found = {name: after - before for name, before, after in zip(names, times[:-1], times[1:], strict=True)}
    return {"total": ended - began, **found}
