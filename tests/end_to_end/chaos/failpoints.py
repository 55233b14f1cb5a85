"""Loaded into a worker by `--test-hook failpoints:strike`: at a numbered step it does what its order file says.

An order is one line, `<kill|stop|abort|absent> <step>`, in the file that $CHAOS_ORDER names. It is carried out once.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from pipeline.errors import BrokerTimeout, TransactionAborted


def strike(step: str) -> None:
    """Called by the worker at each numbered step."""
    order = Path(os.environ["CHAOS_ORDER"])
    try:
        what, _, at = order.read_text().partition(" ")
        if at != step:
            return
        order.rename(order.with_suffix(".done"))
    except FileNotFoundError:  # none, or withdrawn meanwhile
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
