"""A TLS connection that one thread reads while others write.

Nobody promises that of `ssl.SSLSocket`: OpenSSL wants a session to itself, most versions of Python let two threads into
it all the same, and 3.13.6 keeps a writer out for as long as a reader waits
(https://github.com/python/cpython/issues/137583). Here the session is held only while bytes that are there are wrapped
or taken apart; waiting happens outside.
"""

from __future__ import annotations

import io
import socket
import ssl
import threading
from typing import Any, Literal

_LARGEST_RECORD = 16 * 1024


class TlsConnection:
    """What `socket.socket` offers of `sendall`, `makefile`, `settimeout`, `shutdown` and `close`, with TLS below.

    The handshake is done when it is there; the timeout of `plain` holds for each of its steps. Raises OSError, of which
    ssl.SSLError is one.
    """

    def __init__(
        self, plain: socket.socket, context: ssl.SSLContext, *, server: bool = False, host: str | None = None
    ) -> None:
        self._plain = plain
        self._arriving, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self._arriving, self._leaving, server_side=server, server_hostname=host)
        self._held, self._sending = threading.Lock(), threading.Lock()
        self._handshake()

    def _handshake(self) -> None:
        while True:
            try:
                self._session.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if not self._receive():
                    raise ConnectionError("the other side ended the connection during the handshake") from None
            else:
                return self._flush()

    def recv(self, size: int) -> bytes:
        """Wait for bytes, in one thread at a time; empty at the end."""
        while True:
            try:
                with self._held:
                    return self._session.read(size)
            except ssl.SSLWantReadError:
                self._flush()  # what the session answers by itself, such as new keys
                if not self._receive():
                    return b""
            except ssl.SSLZeroReturnError:
                return b""

    def makefile(self, mode: Literal["rb"]) -> io.BufferedReader:
        """A stream to read from; closing it leaves the connection open."""
        return io.BufferedReader(_Stream(self))

    def sendall(self, data: bytes) -> None:
        """Send everything; several threads may."""
        with self._sending:
            with self._held:
                self._session.write(data)
            self._drain()

    def settimeout(self, seconds: float | None) -> None:
        """Limit each wait for the other side."""
        self._plain.settimeout(seconds)

    def shutdown(self, how: int) -> None:
        """End the connection below, from any thread."""
        self._plain.shutdown(how)

    def close(self) -> None:
        """Release the socket."""
        self._plain.close()

    def _receive(self) -> bool:
        data = self._plain.recv(_LARGEST_RECORD)
        with self._held:
            self._arriving.write(data)
        return bool(data)

    def _flush(self) -> None:
        with self._sending:
            self._drain()

    def _drain(self) -> None:
        """Send what the session has made; records must leave in its order, so the caller has `_sending`."""
        with self._held:
            data = self._leaving.read()
        if data:
            self._plain.sendall(data)


class _Stream(io.RawIOBase):
    def __init__(self, connection: TlsConnection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._connection.recv(len(buffer))
        buffer[: len(found)] = found
        return len(found)
