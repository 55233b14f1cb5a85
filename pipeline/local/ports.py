"""Free TCP ports of this machine.

They lie below the range from which the system serves outgoing connections. A port of that range may belong to a client
of another program at the moment at which a stopped server wants it back.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

_LOOPBACK = "127.0.0.1"

_LOWEST = 15_000
_DEFAULT_OUTGOING = 32_768


def free_port() -> int:
    """A loopback port that nobody listens on at the moment."""
    # Not from the seeded generator: two processes that start servers at once must not draw the same ports.
    generator = random.SystemRandom()
    while not is_free(port := generator.randrange(_LOWEST, _first_outgoing())):
        pass
    return port


def free_ports(count: int) -> range:
    """So many loopback ports in a row that nobody listens on at the moment."""
    while not all(map(is_free, ports := range(first := free_port(), first + count))):
        pass
    return ports


def is_free(port: int) -> bool:
    """True when a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
        return True


def _first_outgoing() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return _DEFAULT_OUTGOING
    return first if first > _LOWEST + 1000 else _DEFAULT_OUTGOING
