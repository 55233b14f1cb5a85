"""The worker processes of a chaos run: `actionwire worker` with its supervision, and orders for its fail points."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from pipeline import child_process

STRUCK_WORKER = Path(__file__).resolve().parent / "struck_worker.py"


class WorkerProcess:
    """A supervised worker. Signals go to its child, the process that works."""

    def __init__(self, slot: str, folder: Path, config: Path) -> None:
        self.slot = slot
        self.log = folder / f"worker-{slot}.log"
        self._config = config
        self._order = folder / f"{slot}.order"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the supervisor, which starts the worker."""
        command = [sys.executable, str(STRUCK_WORKER), "worker", "--slot", self.slot, "--config", str(self._config)]
        with self.log.open("ab") as output:
            self._process = child_process.start(
                command, output=output, environment=os.environ | {"CHAOS_ORDER": str(self._order)}
            )

    @property
    def running(self) -> bool:
        """True while the supervisor lives."""
        return self._process is not None and self._process.poll() is None

    def pid(self, seconds: float = 30.0) -> int:
        """The process that works; waits while there is none."""
        deadline = time.monotonic() + seconds
        while True:
            found = _children(self._process.pid) if self._process else []
            if found:
                return found[0]
            if time.monotonic() > deadline or not self.running:
                raise RuntimeError(f"worker {self.slot} has no child; see {self.log}")
            time.sleep(0.05)

    def signal(self, number: int) -> None:
        """Send a signal to the process that works."""
        with suppress(ProcessLookupError):
            os.kill(self.pid(), number)

    def resume(self, pid: int) -> None:
        """SIGCONT for a process that was stopped."""
        os.kill(pid, signal.SIGCONT)

    def crash(self) -> None:
        """SIGKILL supervisor and worker, as if their machine had lost power."""
        if self._process is not None:
            with suppress(ProcessLookupError, RuntimeError):
                os.kill(self.pid(1.0), signal.SIGKILL)
            self._process.kill()
            self._process.wait()

    def stop(self, seconds: float = 40.0) -> int:
        """SIGTERM, as an operator does; returns the exit code."""
        if self._process is None or self._process.poll() is not None:
            return 0
        self.withdraw()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        self.crash()
        return -signal.SIGKILL

    def order(self, what: str, step: str) -> None:
        """Have something done at a numbered step, once."""
        partial = self._order.with_suffix(".new")
        partial.write_text(f"{what} {step}")
        self._order.with_suffix(".done").unlink(missing_ok=True)
        partial.rename(self._order)

    def carried_out(self, seconds: float) -> bool:
        """Wait until the order was carried out; False when it was not in time."""
        deadline = time.monotonic() + seconds
        while not self._order.with_suffix(".done").exists():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def has_joined(self, seconds: float) -> bool:
        """Wait until it says that it works on a partition, for the first time in its life."""
        deadline = time.monotonic() + seconds
        while "partitions assigned" not in self.log.read_text(errors="replace"):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def withdraw(self) -> None:
        """Forget an order that was not carried out."""
        self._order.unlink(missing_ok=True)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(one) for one in task.read_text().split()]
    return found
