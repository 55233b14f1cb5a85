"""A small web server in worker and ingest: /metrics for Prometheus, /live and /ready for a supervisor.

    GET /live    200 while the process is alive, 503 and the reason when it should be restarted
    GET /ready   200 while it can do its work, 503 and the reason while it cannot (for example: the broker is away)
    GET /metrics all metrics of the registry, as text or OpenMetrics

While the broker is away a worker is not ready, but it is alive: a restart would not help.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from pipeline.errors import ConfigurationError, mask

if TYPE_CHECKING:  # who merely looks whether somebody listens needs no web server
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    from prometheus_client import CollectorRegistry

Check: TypeAlias = Callable[[], str | None]
"""Returns None while all is well, else the reason in words. Called on the server's threads; must return at once."""

_SLOW_CLIENT_SECONDS = 5.0
_PROBE_SECONDS = 1.0


def accepts_connections(address: tuple[str, int]) -> bool:
    """True when a server at (host, port) accepts a TCP connection within a second."""
    try:
        socket.create_connection(address, _PROBE_SECONDS).close()
    except OSError:
        return False
    return True


class Checked(Protocol):
    """The main object of a process: it knows whether the process is alive and ready."""

    def live(self) -> str | None:
        """None, or why the process should be restarted."""

    def ready(self) -> str | None:
        """None, or why the process cannot do its work at the moment."""


def checks(running: Sequence[Checked]) -> tuple[Check, Check]:
    """The checks of the first element of `running`. Until there is one, the process is alive but not ready."""
    return (
        lambda: running[0].live() if running else None,
        lambda: running[0].ready() if running else "not started yet",
    )


class HealthServer:
    """Serves until it is closed. Use it in a `with` block."""

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        live: Check,
        ready: Check,
        *,
        command: Literal["worker", "ingest"] = "worker",
    ) -> None:
        """Start serving. Port 0 picks a free one. command: the owner of the port, for the remedy in the error.

        Raises ConfigurationError when the address cannot be used.
        """
        try:
            self._server = _server((host, port), _handler(registry, {"/live": live, "/ready": ready}))
        except (OSError, OverflowError) as error:
            raise ConfigurationError(
                f"cannot serve metrics and health on {host}:{port}: {_remedy(error, port, command)}"
            ) from error
        self.host = host
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is served, for example http://127.0.0.1:9401."""
        return f"http://{self.host}:{self.port}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> HealthServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _server(address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    from http.server import ThreadingHTTPServer

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False  # a slow client must not delay the end of the process

    return Server(address, handler)


def _handler(registry: CollectorRegistry, checks: dict[str, Check]) -> type[BaseHTTPRequestHandler]:
    from http.server import BaseHTTPRequestHandler

    from prometheus_client.exposition import choose_encoder

    class Handler(BaseHTTPRequestHandler):
        timeout = _SLOW_CLIENT_SECONDS
        server_version = "actionwire"
        sys_version = ""

        def do_GET(self) -> None:
            path = self.path.split("?", 1)[0]
            if path == "/metrics":
                encode, kind = choose_encoder(self.headers.get("Accept", ""))
                self._answer(200, kind, encode(registry))
            elif path in checks:
                reason = _reason(checks[path])
                self._answer(503 if reason else 200, "text/plain; charset=utf-8", f"{reason or 'ok'}\n".encode())
            else:
                self._answer(404, "text/plain; charset=utf-8", b"see /metrics, /live and /ready\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing: a line per scrape would drown the rest."""

    return Handler


def _remedy(error: OSError | OverflowError, port: int, command: str) -> str:
    """What is wrong with an address, and what to do. The next port is two up: worker and ingest have adjacent ones."""
    if not isinstance(error, OSError) or error.errno != errno.EADDRINUSE:
        return f"{error}; change `http:` in the settings"
    share = (
        " --shard I/N" if command == "ingest" else ""
    )  # a second ingest of the same shard would publish its cameras twice
    return (
        "another process on this machine has it; give this one its own: "
        f"ACTIONWIRE_HTTP__{command.upper()}_PORT={port + 2} actionwire {command}{share}, "
        "and add it to Prometheus' targets"
    )


def _reason(check: Check) -> str | None:
    try:
        reason = check()
    except Exception as error:  # a prober must get an answer even when the check itself fails
        reason = f"the check itself failed: {error!r}"
    return mask(reason) if reason else None
