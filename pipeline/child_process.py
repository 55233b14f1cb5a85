"""Child processes that cannot outlive this one, however it ends.

Linux sends SIGKILL to a child when the *thread* that started it ends (PR_SET_PDEATHSIG, prctl(2)). So one thread, which
lives as long as the process, starts all children. It starts a launcher, which requests the signal and then becomes the
command. On other systems a child merely runs in the same session.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from typing import IO

# 1 is PR_SET_PDEATHSIG, 9 is SIGKILL. If the parent died before the call, the launcher has another parent and exits.
_LAUNCHER = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(sys.argv[1]) or os._exit(1); os.execvp(sys.argv[2], sys.argv[2:])"
)


def start(
    command: Sequence[str],
    *,
    output: IO[bytes] | int | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command that is killed when this process ends in any way.

    output: where stdout and stderr both go; None leaves them as they are. The child leads a group of its own, so a
    Ctrl-C in the terminal reaches this process only, which then stops the child in its own order. Raises OSError when
    the command cannot be started.
    """
    if sys.platform == "linux":
        command = [sys.executable, "-ISc", _LAUNCHER, str(os.getpid()), *command]
    return _Starter.of(os.getpid()).order(command, output, environment)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a group of its own, together with its descendants in that group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class _Starter(threading.Thread):
    """The one thread that starts children. A daemon thread, so it ends only with the process."""

    def __init__(self) -> None:
        super().__init__(name="child-starter", daemon=True)
        self._orders: queue.SimpleQueue[tuple[dict[str, object], Future[subprocess.Popen[bytes]]]] = queue.SimpleQueue()
        self.start()

    @staticmethod
    @cache
    def of(process: int) -> _Starter:
        """The starter of this process. A fork does not inherit threads and needs a starter of its own."""
        return _Starter()

    def order(
        self,
        command: Sequence[str],
        output: IO[bytes] | int | None,
        environment: Mapping[str, str] | None,
    ) -> subprocess.Popen[bytes]:
        """Have a child started. May be called from any thread."""
        started: Future[subprocess.Popen[bytes]] = Future()
        arguments: dict[str, object] = {
            "args": list(command),
            "stdin": subprocess.DEVNULL,
            "stdout": output,
            "stderr": None if output is None else subprocess.STDOUT,
            "env": None if environment is None else dict(environment),
            "process_group": 0,
        }
        self._orders.put((arguments, started))
        return started.result()

    def run(self) -> None:
        """Start children until the process ends."""
        while True:
            arguments, started = self._orders.get()
            try:
                started.set_result(subprocess.Popen(**arguments))  # type: ignore[call-overload]
            except BaseException as error:
                started.set_exception(error)
