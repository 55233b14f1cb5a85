"""Free TCP ports."""

import socket

from pipeline.health import accepts_connections
from pipeline.local.ports import free_port, is_free


def test_a_free_port_is_below_the_outgoing_range() -> None:
    """No outgoing connection of another program can take a port that a stopped server wants back."""
    assert all(15_000 <= free_port() < 32_768 for _ in range(20))


def test_a_port_is_free_until_somebody_listens() -> None:
    """What listens is seen from both sides: its port is taken, and connections are accepted."""
    port = free_port()
    assert is_free(port)
    assert not accepts_connections(("127.0.0.1", port))

    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
        assert accepts_connections(("127.0.0.1", port))
