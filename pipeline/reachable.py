"""Whether anybody listens at an address."""

from __future__ import annotations

import socket

_PROBE_SECONDS = 1.0


def accepts_connections(address: tuple[str, int]) -> bool:
    """True when a server at (host, port) accepts a TCP connection within a second."""
    try:
        socket.create_connection(address, _PROBE_SECONDS).close()
    except OSError:
        return False
    return True
