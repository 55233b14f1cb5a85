"""`actionwire ingest`: what is said before a camera is read."""

from __future__ import annotations

import platform
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from pipeline import logs
from pipeline.commands import ingest as module
from pipeline.errors import ConfigurationError
from pipeline.health import HealthServer

_PROGRAM = """
import ctypes, sys, threading
from pathlib import Path
from contextlib import suppress

if sys.argv[1] == "ingest":
    from pipeline.commands.ingest import ingest
    from pipeline.errors import ConfigurationError
    with suppress(ConfigurationError):
        ingest(config=Path(sys.argv[2]), bootstrap=None)

together = threading.Barrier(6)

def allocate():
    together.wait()
    for size in range(10_000, 100_000, 1000):
        bytearray(size)
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


def test_a_port_that_is_taken_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second ingest on one machine is told how it gets a port, and that it needs a share, of its own."""
    monkeypatch.setattr(module, "stop_on_signals", threading.Event)
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    with HealthServer("127.0.0.1", 0, CollectorRegistry(), lambda: None, lambda: None) as first:
        file = tmp_path / "actionwire.yaml"
        file.write_text(f"http: {{ingest_port: {first.port}}}")

        words = f"ACTIONWIRE_HTTP__INGEST_PORT={first.port + 2} actionwire ingest --shard"
        with pytest.raises(ConfigurationError, match=words):
            module.ingest(config=file, bootstrap="in-process")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc: it has no such heaps")
def test_ingest_has_one_heap_for_all_threads(tmp_path: Path) -> None:
    """Threads that allocate at the same time get a heap each by default, and share one in ingest.

    The command sets this before anything else; here it ends because its settings file is missing.
    """

    def heaps(how: str) -> int:
        program = [sys.executable, "-c", _PROGRAM, how, str(tmp_path / "missing.yaml")]
        return subprocess.run(program, capture_output=True, text=True, check=True).stdout.count("<heap nr=")

    assert heaps("default") > 1
    assert heaps("ingest") == 1
