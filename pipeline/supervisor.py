"""Keeps a child process running: starts it again with backoff when it ends, unless that cannot help.

exit code of the child     meaning                                      what the supervisor does
0                          it was told to stop                          ends with 0
2, before it ever worked   a person must change something, such as      ends with 2
                           a bundle that cannot be loaded
1, before it ever worked   a bug                                        ends with 1
2, having worked           something that worked was taken away         starts it again: it recovers once a person has
                                                                        mended that, and nobody has to restart it
3                          the broker is away                           starts it again, within seconds
4, 75, signals, 1          fenced, stuck, killed, crashed               starts it again

When the supervisor itself is told to stop, it tells the child and ends with the child's exit code: 128 + the signal's
number for a child that a signal killed. So a child that had to be killed counts as a failure. Only SIGTERM, the
signal that tells the child to stop, is no failure. Between two children the code of the one that has ended counts.
"""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from pipeline import child_process

STUCK = 75
"""A process ends with this when a step of it never returned: EX_TEMPFAIL of sysexits.h, try again."""
FAST = frozenset({4, STUCK, -signal.SIGKILL})
"""Codes of a child that worked until then: fenced, stuck (ended by its watchdog), killed. No reason to wait long."""
AWAY = 3
"""Code of a child that found no broker. The broker will be back, and then every second of waiting delays events."""
HEALTHY_SECONDS = 5.0
"""After a run of this length the backoff starts from the beginning."""
EARLY_SECONDS = 10.0
"""A child that ends sooner after it began to work has never worked."""
STOP_SECONDS = 20.0
"""How long a child may take to stop before it is killed."""

log = structlog.get_logger(__name__)


def decide(code: int, worked: bool, failures: int) -> float | None:
    """Seconds to wait before the next start, None to give up. Pure.

    code: exit code, or minus the number of the signal that killed the child. worked: a child has run for
    `EARLY_SECONDS`. failures: consecutive ends without a healthy run.
    """
    if code == 0 or (code in (1, 2) and not worked):
        return None
    if code in FAST:
        return float(min(0.1 * 2 ** min(failures, 8), 10.0))
    return float(min(0.5 * 2 ** min(failures, 8), 5.0 if code == AWAY else 30.0))


def supervise(
    command: Sequence[str],
    stop: threading.Event,
    *,
    start: Callable[[Sequence[str]], subprocess.Popen[bytes]] | None = None,
    cut_off: Callable[[], None] = lambda: None,
    name: str = "worker",
    began: Path | None = None,
) -> int:
    """Run `command` until `stop` is set or another start cannot help; return the exit code to end with.

    cut_off: called after a child ended without a chance to clean up, before the next one starts. name: what is
    run, for the log. began: a file that the child makes once it begins to work; a start may take longer than a child
    that fails, on a busy machine or while engines are built. None: it works from its first moment.
    """
    start = start or (lambda what: child_process.start(what))
    failures, worked = 0, False
    while True:
        begun = time.monotonic()
        if began is not None:
            began.unlink(missing_ok=True)
        process = start(command)
        code = _wait(process, stop, name)
        if stop.is_set():
            return _passed_on(code)
        ran = time.monotonic() - begun
        failures = 0 if ran >= HEALTHY_SECONDS else failures
        worked |= (ran if began is None else _seconds_since(began)) >= EARLY_SECONDS
        pause = decide(code, worked, failures)
        if pause is None:
            return code
        log.warning(f"the {name} ended; starting it again", exit_code=code, after=round(ran, 1), in_seconds=pause)
        failures += 1
        if code < 0 or code == STUCK:
            cut_off()
        if stop.wait(pause):
            return _passed_on(code)


def _seconds_since(began: Path) -> float:
    """How long ago the file was made; 0 where there is none."""
    try:
        return time.time() - began.stat().st_mtime
    except OSError:
        return 0.0


def _passed_on(code: int) -> int:
    """Exit code for a supervisor that is told to stop, by the code of its last child."""
    if code == -signal.SIGTERM:  # told to stop before it could handle the signal
        return 0
    return code if code >= 0 else 128 - code


def _wait(process: subprocess.Popen[bytes], stop: threading.Event, name: str) -> int:
    """Wait until the child ends; return its code. Once `stop` is set, tell it to stop."""
    while process.poll() is None:
        if stop.wait(0.1):
            return _end(process, name)
    return process.wait()


def _end(process: subprocess.Popen[bytes], name: str) -> int:
    """Tell the child to stop, and kill it if it does not; return its code."""
    process.terminate()
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        log.error(f"the {name} did not stop when asked; killing it", seconds=STOP_SECONDS)
        process.kill()
        return process.wait()
