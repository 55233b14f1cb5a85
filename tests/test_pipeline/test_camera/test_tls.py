"""A TLS connection that one thread reads while others write."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pipeline.camera.tls import TlsConnection

SECONDS = 10.0


def client_context() -> ssl.SSLContext:
    """A client's, that takes every certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.fixture
def pair(own_certificate: ssl.SSLContext) -> Iterator[tuple[TlsConnection, TlsConnection]]:
    """Both ends of a connection."""
    near, far = socket.socketpair()
    near.settimeout(SECONDS)
    far.settimeout(SECONDS)
    servers: list[TlsConnection] = []
    thread = threading.Thread(target=lambda: servers.append(TlsConnection(far, own_certificate, server=True)))
    thread.start()
    client = TlsConnection(near, client_context(), host="camera")
    thread.join()
    yield client, servers[0]
    client.close()
    servers[0].close()


def test_writers_need_not_wait_for_a_reader(pair: tuple[TlsConnection, TlsConnection]) -> None:
    """A reader waits at one end; at the same end two threads write, and every message arrives whole and in its order.

    client   reader  waits ...................... "done"
             a, b    a a b a b b a ...            > server: reads them all, then answers
    """
    client, server = pair
    heard: list[bytes] = []
    messages = 300

    def read() -> None:
        with client.makefile("rb") as stream:
            heard.append(stream.readline())

    def write(name: bytes) -> None:
        for number in range(messages):
            client.sendall(b"%s %d %s\n" % (name, number, name * (number * 37 % 3000)))

    reader = threading.Thread(target=read)
    reader.start()
    writers = [threading.Thread(target=write, args=(name,)) for name in (b"a", b"b")]
    for one in writers:
        one.start()
    with server.makefile("rb") as stream:
        lines = [stream.readline() for _ in range(2 * messages)]
    for one in writers:
        one.join()
    assert reader.is_alive()
    server.sendall(b"done\n")
    reader.join()

    assert heard == [b"done\n"]
    for name in (b"a", b"b"):
        own = [line.split() for line in lines if line.startswith(name + b" ")]
        assert [int(line[1]) for line in own] == list(range(messages))
        assert all(
            line[2:] == ([name * count] if (count := number * 37 % 3000) else []) for number, line in enumerate(own)
        )


def test_an_end_is_the_end_of_the_stream(pair: tuple[TlsConnection, TlsConnection]) -> None:
    """What came before it is there; no error, since cameras cut connections without a farewell."""
    client, server = pair
    server.sendall(b"the last words")
    server.shutdown(socket.SHUT_RDWR)

    with client.makefile("rb") as stream:
        assert stream.read() == b"the last words"


@pytest.mark.parametrize("answer", [b"RTSP/1.0 400 Bad Request\r\n\r\n", b""], ids=["no TLS", "the end"])
def test_what_speaks_no_tls_is_refused(answer: bytes) -> None:
    """The handshake fails with an OSError, like every connection that cannot be made."""
    with ExitStack() as stack:
        near, far = (stack.enter_context(one) for one in socket.socketpair())
        near.settimeout(SECONDS)
        far.sendall(answer)
        far.shutdown(socket.SHUT_WR)

        with pytest.raises(OSError):
            TlsConnection(near, client_context(), host="camera")


def test_silence_at_the_handshake_has_its_limit() -> None:
    """The timeout of the socket below."""
    with ExitStack() as stack:
        near, _far = (stack.enter_context(one) for one in socket.socketpair())
        near.settimeout(0.05)

        with pytest.raises(TimeoutError):
            TlsConnection(near, client_context(), host="camera")
