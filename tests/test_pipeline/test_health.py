"""/metrics, /live and /ready over HTTP."""

from __future__ import annotations

import socket
from http.client import HTTPConnection
from typing import Literal

import pytest
from prometheus_client import CollectorRegistry

from pipeline.errors import ConfigurationError
from pipeline.health import HealthServer


def ask(server: HealthServer, path: str, method: str = "GET") -> tuple[int, str]:
    """Status and body of one request."""
    connection = HTTPConnection(server.host, server.port, timeout=5)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_live_and_ready_are_apart() -> None:
    """Without a broker a worker is alive but not ready, and says why; when it comes back the answer changes."""
    reasons: list[str | None] = ["the broker at broker:9092 does not answer"]
    with HealthServer("127.0.0.1", 0, CollectorRegistry(), lambda: None, lambda: reasons[0]) as server:
        assert ask(server, "/live") == (200, "ok\n")
        assert ask(server, "/ready?verbose") == (503, "the broker at broker:9092 does not answer\n")

        reasons[0] = None

        assert ask(server, "/ready") == (200, "ok\n")


def test_a_check_that_fails_is_an_answer() -> None:
    """An exception inside a check is a 503 with its reason, without credentials."""

    def broken() -> str | None:
        raise RuntimeError("no frames from rtsp://user:hunter2@camera/1")

    with HealthServer("127.0.0.1", 0, CollectorRegistry(), broken, broken) as server:
        status, body = ask(server, "/live")

    assert status == 503
    assert "rtsp://***@camera/1" in body
    assert "hunter2" not in body


def test_other_paths_and_methods_are_refused() -> None:
    """A wrong path names the right ones; nothing can be posted."""
    with HealthServer("127.0.0.1", 0, CollectorRegistry(), lambda: None, lambda: None) as server:
        assert ask(server, "/") == (404, "see /metrics, /live and /ready\n")
        assert ask(server, "/live", "POST")[0] == 501


def test_a_silent_client_holds_nobody_up() -> None:
    """A client that connects and says nothing blocks neither other clients nor the end."""
    with HealthServer("127.0.0.1", 0, CollectorRegistry(), lambda: None, lambda: None) as server:
        silent = socket.create_connection((server.host, server.port))
        assert ask(server, "/live") == (200, "ok\n")
    silent.close()


@pytest.mark.parametrize(("command", "share"), [("worker", ""), ("ingest", " --shard I/N")])
def test_a_port_in_use_is_a_clear_error(command: Literal["worker", "ingest"], share: str) -> None:
    """The message names address, reason and what to type instead; a closed server frees its port."""
    with HealthServer("127.0.0.1", 0, CollectorRegistry(), lambda: None, lambda: None) as server:
        port = server.port
        remedy = f"ACTIONWIRE_HTTP__{command.upper()}_PORT={port + 2} actionwire {command}{share}, "
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}: another process.*{remedy}"):
            HealthServer("127.0.0.1", port, CollectorRegistry(), lambda: None, lambda: None, command=command)
    with HealthServer("127.0.0.1", port, CollectorRegistry(), lambda: None, lambda: None) as server:
        assert ask(server, "/live") == (200, "ok\n")


def test_an_address_of_another_machine_is_a_clear_error() -> None:
    """What another port would not mend is mended in the settings."""
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1:9401.*`http:` in the settings"):
        HealthServer("192.0.2.1", 9401, CollectorRegistry(), lambda: None, lambda: None)
