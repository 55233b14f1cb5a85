"""Sockets and transports of kafka-python 3.0.12, with four defects mended.

A broker that refuses credentials sends its reason and hangs up at once. The library throws away what it reads together
with the end of the stream, so that on a busy machine the reason is lost, attempt after attempt (`_ToTheEnd`). A TLS
handshake has no limit (`_TLS`), and a socket whose connection failed stays open (`_Socket`). Sockets are read in
pieces of 4 KiB, each of which gives the interpreter away: a third of what a frame costs its consumer (`_ToTheEnd`).
"""

from __future__ import annotations

import ssl
from typing import Any

from kafka import errors
from kafka.net.inet import KafkaNetSocket, create_connection
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport

PROXY_URL = "direct://"
"""Selects `_Socket` in the library's registry of proxies; there is no proxy."""


READ_BYTES = 256 << 10


class _Socket(KafkaNetSocket):  # type: ignore[misc]
    """Closes a socket that could not connect; the library leaves that to the garbage collector."""

    SCHEMES = ("direct",)

    async def connect(self, net: Any, addrinfo: Any, socket_options: Any = (), timeout_at: float | None = None) -> Any:
        family, kind, protocol, _, address = addrinfo
        opened = self.socket(family, kind, protocol)
        try:
            opened.setblocking(False)
            for option in socket_options:
                opened.setsockopt(*option)
            return await self.sock_connect(net, opened, address, timeout_at=timeout_at)
        except BaseException:
            opened.close()
            raise


class _ToTheEnd:
    """Hands over what came before the end of the stream, even where both are read at once; then the end."""

    _net: Any
    _sock: Any
    abort: Any

    def _sock_recv(self) -> tuple[bytes, Exception | None]:
        received, error = _read_all(self._sock)
        if received and error is not None:
            # After the tasks that this data wakes: the reason to report is the refusal, not the loss that follows.
            self._net.call_later(0, lambda: self.abort(error))
            return received, None
        return received, error


def _read_all(opened: Any) -> tuple[bytes, Exception | None]:
    """What a socket has for us now, and why it has no more: None where more may come."""
    pieces: list[bytes] = []
    try:
        while piece := opened.recv(READ_BYTES):
            pieces.append(piece)
        return b"".join(pieces), errors.KafkaConnectionError("socket disconnected")
    except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return b"".join(pieces), None
    except (OSError, AttributeError) as error:  # closed a moment ago: then there is no socket any more
        return b"".join(pieces), errors.KafkaConnectionError(error)


class _Plain(_ToTheEnd, KafkaTCPTransport):  # type: ignore[misc]
    pass


class _TLS(_ToTheEnd, KafkaSSLTransport):  # type: ignore[misc]
    """TLS with a limit for the handshake: the port of a broker that hangs still accepts connections."""

    timeout_at: float | None = None

    async def handshake(self) -> None:
        while True:
            try:
                self._sock.do_handshake()
                return
            except ssl.SSLWantReadError:
                await self._net.wait_read(self._sock, self.timeout_at)
            except ssl.SSLWantWriteError:
                await self._net.wait_write(self._sock, self.timeout_at)


async def open_transport(net: Any, node: Any, configs: dict[str, Any], tls: bool, timeout_at: float | None) -> Any:
    """Connect to a broker, with TLS where asked for, until `timeout_at` (monotonic seconds).

    Raises the library's KafkaConnectionError, and leaves nothing open then.
    """
    opened = await create_connection(
        net, node.host, node.port, configs["socket_options"], proxy_url=configs["proxy_url"], timeout_at=timeout_at
    )
    if tls:
        options = {name: value for name, value in configs.items() if name.startswith("ssl_")}
        transport: Any = _TLS(net, opened, host=node.host, **options)
        transport.timeout_at = timeout_at
    else:
        transport = _Plain(net, opened, host=node.host)
    try:
        await transport.handshake()
    except BaseException as error:
        transport.close()
        if isinstance(error, Exception):
            raise errors.KafkaConnectionError(f"Handshake failed: {error}") from error
        raise
    return transport
