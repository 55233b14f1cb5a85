"""CPU seconds of a small command, from its start to its end: mostly what it imports.

CPU time and not time on the clock, and the best of several rounds, since neighbours only slow things down.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.errors import ActionwireError

ROUNDS = 7

COMMANDS: Mapping[str, Sequence[str]] = {
    "cli_help_cpu_s": ("--help",),
    "cli_labels_list_cpu_s": ("labels", "list"),
    "cli_status_cpu_s": ("status",),
}


def cpu_seconds(arguments: Sequence[str], settings: Path, rounds: int = ROUNDS) -> float:
    """User and system time of one of our commands, the best of `rounds`. Raises ActionwireError when it fails.

    With modules that are compiled, as they are from the second command of an installation on: the first run does not
    count, and what it compiles is kept even where the environment says otherwise.
    """
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    with tempfile.TemporaryDirectory(prefix="actionwire-compiled-") as compiled:
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment = {**kept, "PYTHONPYCACHEPREFIX": compiled, "ACTIONWIRE_CONFIG": str(settings)}
        _once(command, environment)
        return min(_once(command, environment) for _ in range(rounds))


def _once(command: Sequence[str], environment: Mapping[str, str]) -> float:
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise ActionwireError(f"{' '.join(command)} failed: {output.read().decode(errors='replace')[-500:]}")
    return used.ru_utime + used.ru_stime
