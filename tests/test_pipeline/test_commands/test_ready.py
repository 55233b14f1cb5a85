"""`actionwire ready` on real health servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.health import HealthServer
from pipeline.local.ports import free_port
from pipeline.metrics import new_registry


def ask(folder: Path, worker: int | None, ingest: int | None, *options: str) -> tuple[int, str]:
    """Exit code and output of the command with these ports."""
    file = folder / "actionwire.yaml"
    file.write_text(json.dumps({"http": {"worker_port": worker, "ingest_port": ingest}}))
    done = CliRunner().invoke(app, ["ready", "--config", str(file), *options])
    return done.exit_code, done.output


def server(missing: list[str]) -> HealthServer:
    """A process that misses the first of these, or nothing."""
    return HealthServer("127.0.0.1", 0, new_registry(), lambda: None, lambda: missing[0] if missing else None)


def test_it_says_what_is_missing(tmp_path: Path) -> None:
    """0 while everything is ready, 3 and the reason of the process itself while it is not."""
    missing: list[str] = []
    with server(missing) as worker, server([]) as ingest:
        assert ask(tmp_path, worker.port, ingest.port) == (0, "worker is ready\ningest is ready\n")
        missing.append("the broker is away")
        assert ask(tmp_path, worker.port, ingest.port) == (
            3, "worker is not ready: the broker is away\ningest is ready\n",
        )  # fmt: skip
        assert ask(tmp_path, worker.port, ingest.port, "--ingest") == (0, "ingest is ready\n")
        code, output = ask(tmp_path, worker.port, ingest.port, "--worker", "--json")
        assert (code, json.loads(output)) == (3, {"worker": {"ready": False, "missing": "the broker is away"}})


@pytest.mark.parametrize("port", [None, 0])
def test_a_process_that_cannot_be_asked_is_not_ready(tmp_path: Path, port: int | None) -> None:
    """Without a port of its own nobody knows; the message names the setting."""
    code, output = ask(tmp_path, port, 9402, "--worker")

    assert code == 3 and "http.worker_port" in output


def test_nobody_there_and_somebody_else_there(tmp_path: Path) -> None:
    """A port without a server, and one whose server knows no /ready, are two things."""
    nobody = free_port()
    code, output = ask(tmp_path, nobody, None, "--worker")
    assert code == 3 and f"nothing answers at http://127.0.0.1:{nobody}/ready" in output
