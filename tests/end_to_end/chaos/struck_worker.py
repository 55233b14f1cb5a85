"""`actionwire` with a hook in its fail points: at a numbered step it does what its order file says.

    python struck_worker.py worker [OPTIONS]

An order is one line, `<kill|stop|abort|absent> <step>`, in the file that $CHAOS_ORDER names. It is carried out once.
A supervised worker starts its children through this script too: they are the processes that work.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline import child_process, cli
from pipeline.errors import BrokerTimeout, TransactionAborted
from pipeline.worker import fail_points

_start = child_process.start


def strike(step: str) -> None:
    """Carry out the order for this step, if there is one."""
    order = Path(os.environ["CHAOS_ORDER"])
    try:
        what, _, at = order.read_text().partition(" ")
        if at != step:
            return
        order.rename(order.with_suffix(".done"))
    except FileNotFoundError:  # there is none, or it was withdrawn meanwhile
        return
    match what:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "abort":
            raise TransactionAborted(f"injected at {step}")
        case "absent":
            raise BrokerTimeout(f"injected at {step}")


def start_struck(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a child of the supervisor through this script."""
    python, module, name, *arguments = command
    assert (module, name) == ("-m", "pipeline.cli"), f"not a command of the serving side: {command}"
    return _start([python, __file__, *arguments], **options)


if __name__ == "__main__":
    fail_points.hook = strike
    child_process.start = start_struck
    sys.argv[0] = "actionwire"
    cli.main()
