"""The commands that run as processes of this machine: their command lines, their logs, and how they are reached."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import mask

_LINES = 15


def command(name: str, *options: str) -> list[str]:
    """The command line of one of our own commands, in this environment."""
    return [sys.executable, "-m", "pipeline.cli", name, *options]


def last_lines(log: Path, most: int = _LINES) -> str:
    """The end of a log; empty when there is none."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-most:])
    except OSError:
        return ""


def last_error(log: Path) -> str:
    """The last line of a log that says why a command ended; else its last line."""
    lines = [line for line in last_lines(log).splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return mask([*lines[-1:], *errors][-1]) if lines else "it wrote nothing"


def rotated(log: Path) -> Path:
    """Move the log of the run before aside, and return the path of an empty one."""
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    log.touch(mode=0o600)
    return log


def fetch(url: str) -> str | None:
    """The body of one of our pages; None when it does not answer with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2.0) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return None


def series(page: str, name: str) -> float | None:
    """The value of a series on a /metrics page, named with its labels as they stand there; None where it is absent."""
    values = [line.rpartition(" ")[2] for line in page.splitlines() if line.startswith(f"{name} ")]
    return float(values[0]) if values else None


def with_options(**options: str | Path | None) -> Sequence[str]:
    """Options of a command: those that are None are left out."""
    given = [(f"--{name}", str(value)) for name, value in options.items() if value is not None]
    return [part for pair in given for part in pair]
