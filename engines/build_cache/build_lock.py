"""One builder per key: a lock that the kernel frees when its holder dies, and that says who holds it.

The lock is `flock` on a file. A file that was removed while somebody waited for it is no lock any more, so whoever gets
it looks whether it is still the one that others would open.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import BuildCacheError
from engines.strict_json import parse_json

Told = Callable[[str, float], None]
"""Told what is being done and how much of it is done, 0 to 1."""

LOOK_SECONDS = 0.1
SAY_SECONDS = 10.0
_NOTE_SECONDS = 1.0


@dataclass(slots=True)
class HeldLock:
    """The lock in the hand of its holder, who writes into it how far he is."""

    handle: int
    what: str
    began: float
    noted: float = 0.0

    def note(self, doing: str, done: float) -> None:
        """Say how far the work is, for those who wait; at most once a second."""
        if time.monotonic() - self.noted < _NOTE_SECONDS:
            return
        self.noted = time.monotonic()
        said = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "what": self.what,
            "began": self.began,
            "doing": doing,
            "done": round(done, 3),
        }
        content = json.dumps(said).encode()
        with suppress(OSError):  # a full disk spoils the news, not the lock
            os.pwrite(self.handle, content, 0)
            os.ftruncate(self.handle, len(content))


@contextmanager
def locked(path: Path, what: str, told: Told, wait_seconds: float) -> Iterator[HeldLock]:
    """Hold the lock file `path` inside a `with` block; who waits tells for whom, at once and every ten seconds.

    what: what the holder works on, in words. Raises BuildCacheError after `wait_seconds`, OSError where the file cannot
    be opened.
    """
    deadline, say = time.monotonic() + wait_seconds, 0.0
    while (handle := try_lock(path)) is None:
        now = time.monotonic()
        if now >= deadline:
            raise BuildCacheError(
                f"{holder_of(path)[0]}, and that for longer than {wait_seconds:g} s; end that process, or wait longer"
            )
        if now >= say:
            told(*holder_of(path))
            say = now + SAY_SECONDS
        time.sleep(LOOK_SECONDS)
    try:
        held = HeldLock(handle, what, time.time())
        held.note("starting", 0.0)
        yield held
    finally:
        os.close(handle)


def try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock, to be closed; None where another holds it. Raises OSError."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), path.stat()):
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


def holder_of(path: Path) -> tuple[str, float]:
    """Return for whom one waits, in words, and how far that one is."""
    try:
        said: Any = parse_json(path.read_bytes())
        seconds = max(0.0, time.time() - float(said["began"]))
        done = min(max(float(said["done"]), 0.0), 1.0)
        who = f"process {int(said['process'])} on {str(said['host'])[:80]} builds {str(said['what'])[:80]}"
        return f"waiting: {who} since {seconds:.0f} s ({str(said['doing'])[:80]}, {done:.0%})", done
    except (OSError, ValueError, KeyError, TypeError):
        return "waiting: another process builds it", 0.0
