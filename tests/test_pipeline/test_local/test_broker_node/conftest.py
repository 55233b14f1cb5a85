"""What the tests of the local broker share."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

DEADLINE = 60.0


@pytest.fixture
def wait_until_gone() -> Callable[[int], None]:
    """Waits until a process has ended."""

    def wait(pid: int) -> None:
        deadline = time.monotonic() + DEADLINE
        while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
            assert time.monotonic() < deadline, f"process {pid} goes on"
            time.sleep(0.05)

    return wait
