"""How sockets of the library are read."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from kafka import errors

from pipeline.broker.kafka_python.transport import READ_BYTES, _read_all

FRAMES = bytes(range(256)) * 800
"""What a poll may bring at once: more than the library reads in fifty pieces."""


class Counted:
    """A socket, and how often it was read."""

    def __init__(self, inside: socket.socket) -> None:
        self.inside, self.reads = inside, 0

    def recv(self, size: int) -> bytes:
        """Read once."""
        self.reads += 1
        return self.inside.recv(size)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Counted]]:
    """Both ends of a connection; the second does not block."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * len(FRAMES))
    theirs.setblocking(False)
    yield ours, Counted(theirs)
    ours.close()
    theirs.close()


def test_what_has_come_is_read_in_few_pieces(pair: tuple[socket.socket, Counted]) -> None:
    """One piece where it fits, and a look whether there is more; nothing more is no error."""
    ours, theirs = pair
    ours.sendall(FRAMES)

    assert _read_all(theirs) == (FRAMES, None)
    assert theirs.reads == 2 and len(FRAMES) < READ_BYTES
    assert _read_all(theirs) == (b"", None)


def test_what_came_before_the_end_is_not_lost(pair: tuple[socket.socket, Counted]) -> None:
    """A broker may say why it hangs up, and hang up."""
    ours, theirs = pair
    ours.sendall(b"refused")
    ours.close()
    received, error = _read_all(theirs)

    assert received == b"refused" and isinstance(error, errors.KafkaConnectionError)


def test_a_connection_that_breaks_is_an_error_of_the_library(pair: tuple[socket.socket, Counted]) -> None:
    """As is a socket that was closed meanwhile."""
    _, theirs = pair
    theirs.inside.close()

    assert isinstance(_read_all(theirs)[1], errors.KafkaConnectionError)
    assert isinstance(_read_all(None)[1], errors.KafkaConnectionError)
