"""Keeps a child process running: started again with backoff when it ends, unless starting again cannot help.

child's exit code          what it means                                what the parent does
0                          it was told to stop                          ends with 0
2, before it ever worked   a person must change something, such as      ends with 2
                           a bundle that cannot be loaded
1, before it ever worked   a bug                                        ends with 1
2, having worked           something that worked was taken away: it     starts it again, so that no second person
                           comes back when a person has put it right    has to think of every worker
3                          the broker is away                           starts it again, within seconds
4, 75, signals, 1          fenced, stuck, killed, crashed               starts it again
"""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from pipeline import child_process

STUCK = 75
"""A process ends with this when a step of it never returned: EX_TEMPFAIL of sysexits.h, try again."""
FAST = frozenset({4, STUCK, -signal.SIGKILL})
"""Codes of a child that worked until then: fenced, ended by its watchdog, killed. No reason to wait long."""
AWAY = 3
"""Code of a child that found no broker. It will be back, and every second of waiting then makes events late."""
HEALTHY_SECONDS = 5.0
"""A child that ran this long was well; the backoff begins anew."""
EARLY_SECONDS = 10.0
"""A child that ends sooner has not worked yet."""
STOP_SECONDS = 20.0

log = structlog.get_logger(__name__)


def decide(code: int, worked: bool, failures: int) -> float | None:
    """Seconds to wait before the next start, None to give up. Pure.

    code: exit code, or minus the number of the signal that killed the child. worked: some child ran for
    `EARLY_SECONDS`. failures: ends in a row without a healthy run.
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
) -> int:
    """Run `command` until `stop` is set or starting it again cannot help; return the exit code to end with.

    cut_off: called when a child ended without a chance to tidy up, before the next one starts.
    """
    start = start or (lambda what: child_process.start(what))
    failures, worked = 0, False
    while True:
        begun = time.monotonic()
        process = start(command)
        code = _wait(process, stop)
        if stop.is_set():
            return max(code, 0)
        ran = time.monotonic() - begun
        failures = 0 if ran >= HEALTHY_SECONDS else failures
        worked |= ran >= EARLY_SECONDS
        pause = decide(code, worked, failures)
        if pause is None:
            return max(code, 0)
        log.warning("the worker ended; starting it again", exit_code=code, after=round(ran, 1), in_seconds=pause)
        failures += 1
        if code < 0 or code == STUCK:
            cut_off()
        if stop.wait(pause):
            return 0


def _wait(process: subprocess.Popen[bytes], stop: threading.Event) -> int:
    """Wait for the child to end; when told to stop, ask it to, and insist after a while."""
    while process.poll() is None:
        if stop.wait(0.1):
            process.terminate()
            try:
                return process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                log.error("the worker did not stop when asked; killing it", seconds=STOP_SECONDS)
                process.kill()
    return process.wait()
