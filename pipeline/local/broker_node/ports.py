"""Free loopback ports that stay free.

Ports are taken below the range from which the system gives outgoing connections theirs: otherwise a client of somebody
else may hold the port at the moment a stopped broker wants it back.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

from pipeline.errors import ConfigurationError
from pipeline.local.broker_node.properties import Ports

_LOWEST = 15_000
_DEFAULT_OUTGOING = 32_768


def choose(client: int | None = None) -> Ports:
    """Three free ports, the client's as given. Raises ConfigurationError when that one is taken."""
    if client is not None and not is_free(client):
        raise ConfigurationError(
            f"port {client} on 127.0.0.1 is taken; choose another with --port, or stop what uses it"
        )
    found: list[int] = []
    # Not from the seeded generator: two processes that start brokers at once must not draw the same ports.
    generator = random.SystemRandom()
    while len(found) < 3:
        port = generator.randrange(_LOWEST, _first_outgoing())
        if port != client and port not in found and is_free(port):
            found.append(port)
    return Ports(client or found[0], found[1], found[2])


def is_free(port: int) -> bool:
    """True when a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def answers(port: int, seconds: float = 1.0) -> bool:
    """True when something accepts connections on this loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), seconds).close()
    except OSError:
        return False
    return True


def _first_outgoing() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return _DEFAULT_OUTGOING
    return first if first > _LOWEST + 1000 else _DEFAULT_OUTGOING
