"""Child processes that cannot outlive this one, whatever kills it.

Linux sends SIGKILL to a child when the *thread* that started it ends (PR_SET_PDEATHSIG, prctl(2)). So all
children are started by one thread that lives as long as the process, through a launcher that asks for the signal and
then becomes the command. Elsewhere than on Linux a child merely runs in the same session.
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

# 1 is PR_SET_PDEATHSIG, 9 is SIGKILL. If the parent dies before the call, the child has another parent and must exit.
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
    """Kill a process that leads a group of its own, and whatever it has started that stayed in the group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class _Starter(threading.Thread):
    """The one thread that starts children; a daemon, so it ends only with the process."""

    def __init__(self) -> None:
        super().__init__(name="child-starter", daemon=True)
        self._orders: queue.SimpleQueue[tuple[dict[str, object], Future[subprocess.Popen[bytes]]]] = queue.SimpleQueue()
        self.start()

    @staticmethod
    @cache
    def of(process: int) -> _Starter:
        """The starter of this process; a fork has lost its parent's threads and needs its own."""
        return _Starter()

    def order(
        self,
        command: Sequence[str],
        output: IO[bytes] | int | None,
        environment: Mapping[str, str] | None,
    ) -> subprocess.Popen[bytes]:
        """Have a child started, from any thread."""
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
