"""Ports and server.properties."""

import socket
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from pipeline.local.broker_node import NodeSecurity
from pipeline.local.broker_node.properties import Ports, server_properties
from pipeline.local.ports import free_port

DEADLINE = 60.0


def test_listens_on_loopback_only() -> None:
    """Clients, the broker itself and the controller each have their own loopback port."""
    text = server_properties(Ports(1, 2, 3), Path("/data"), Path("/k"), None, {"log.retention.hours": "1"})

    assert "listeners=CLIENT://127.0.0.1:1,INTERNAL://127.0.0.1:2,CONTROLLER://127.0.0.1:3\n" in text
    assert "CLIENT:PLAINTEXT" in text
    assert text.endswith("log.retention.hours=1\n")


def test_passwords_are_quoted() -> None:
    """Quotes and backslashes of a password survive the JAAS string and the properties file."""
    security = NodeSecurity("SASL_PLAINTEXT", {"app": 'a"b\\c'})
    text = server_properties(Ports(1, 2, 3), Path("/data"), Path("/k"), security, {})

    assert 'user_app="a\\\\"b\\\\\\\\c"' in text


def test_are_three_different_ones() -> None:
    """Clients, the broker itself and the controller share no port; a port that was asked for is the clients'."""
    wanted = free_port()
    chosen = Ports.choose(wanted)

    assert chosen.client == wanted
    assert len({chosen.client, chosen.internal, chosen.controller}) == 3


def test_a_taken_port_is_named() -> None:
    """A port that somebody else uses is refused with its number and the option to change."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigurationError, match=rf"port {taken.getsockname()[1]} .* --port"):
            Ports.choose(taken.getsockname()[1])
