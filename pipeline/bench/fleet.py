"""How fast several worker processes are together, with the command that a deployment runs them with.

actionwire worker, worker.processes: 4      ports P, P+1, P+2, P+3      frames of each: /metrics at two moments
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import child_process
from pipeline.errors import ActionwireError
from pipeline.local.ports import free_ports
from pipeline.one_machine.processes import command, fetch, last_lines, series

_LOOK_SECONDS = 0.1
_FRAMES, _WINDOWS = "actionwire_frames_total", "actionwire_windows_total"


def fleet_rate(document: Mapping[str, Any], processes: int, *, seconds: float, within: float = 600.0) -> float:
    """Return the frames per second of so many workers together, once each of them scores windows.

    document: settings of a deployment whose frames topic holds more than they can take; no other member is in its
    group. within: seconds until all must be at work. Raises ActionwireError where they end or are not, and where the
    topic was read to its end before the time was over.
    """
    ports = free_ports(processes)
    settings = {
        **document,
        "worker": {**document["worker"], "processes": processes},
        "http": {"worker_port": ports[0]},
        "log": {"format": "json"},
    }
    with tempfile.TemporaryDirectory(prefix="actionwire-bench-") as folder:
        file, log = Path(folder) / "actionwire.yaml", Path(folder) / "workers.log"
        file.write_text(json.dumps(settings), encoding="utf-8")
        with log.open("wb") as output:
            process = child_process.start(command("worker", "--config", str(file)), output=output)
        try:
            deadline = time.monotonic() + within
            while not all((_count(port, _WINDOWS) or 0.0) > 0 for port in ports):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ActionwireError(f"the workers score no windows; their log ends with:\n{last_lines(log)}")
                time.sleep(_LOOK_SECONDS)
            before = [_at(port, log) for port in ports]
            time.sleep(seconds)
            after = [_at(port, log) for port in ports]
            time.sleep(_LOOK_SECONDS)
            if [_count(port, _FRAMES) for port in ports] == [frames for _, frames in after]:
                raise ActionwireError("the workers read the topic to its end while they were measured; publish more")
        finally:
            _end(process)
    pairs = zip(before, after, strict=True)
    return sum((frames - frames_before) / (at - at_before) for (at_before, frames_before), (at, frames) in pairs)


def _at(port: int, log: Path) -> tuple[float, float]:
    """The time, and the frames that a worker has encoded by then."""
    if (frames := _count(port, _FRAMES)) is None:
        raise ActionwireError(f"a worker does not answer; the log ends with:\n{last_lines(log)}")
    return time.perf_counter(), frames


def _count(port: int, name: str) -> float | None:
    page = fetch(f"http://127.0.0.1:{port}/metrics")
    return None if page is None else series(page, name)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=30.0)
    except subprocess.TimeoutExpired:
        child_process.kill_group(process)
