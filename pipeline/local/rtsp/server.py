"""The server: sockets, connections and threads."""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO, Literal, Protocol, Self
from urllib.parse import quote

from pipeline.errors import ConfigurationError
from pipeline.local.rtsp.media import Media
from pipeline.local.rtsp.mount import Mount
from pipeline.local.rtsp.player import Player
from pipeline.local.rtsp.protocol import (
    METHODS,
    SOUND,
    Login,
    Request,
    authorised,
    challenge,
    interleaved_channels,
    parse_request,
    response,
    session_description,
)

_SEND_SECONDS = 5
_LARGEST_HEADER = 64_000
_LARGEST_BODY = 64_000
"""Bodies mean nothing to this server. Anybody may send one, before any login, so their size is bounded."""


class Connected(Protocol):
    """What is needed of a client's connection; a socket has it."""

    def makefile(self, mode: Literal["rb"], /) -> BinaryIO:
        """A stream to read from."""

    def sendall(self, data: bytes, /) -> None:
        """Send everything, while another thread reads."""

    def shutdown(self, how: int, /) -> None:
        """End it, from any thread."""

    def close(self) -> None:
        """Release it."""


class RtspServer:
    """Serves paths to any number of clients. For each client one thread reads and one plays.

    session_seconds: a playing client that sends no request for this long is dropped (RFC 2326 section 12.37).
    encrypted: makes the server's end of TLS of a client's connection; clients must then speak it (rtsps).
    Raises ConfigurationError from `start` when the port is taken.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        session_seconds: int = 60,
        encrypted: Callable[[socket.socket], Connected] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        """The requested port; after the start, the one on which the server listens."""
        self.session_seconds = session_seconds
        self.encrypted = encrypted
        self.requests: dict[str, int] = {}
        """How many requests of each RTSP method have arrived; others are not counted, their names have no bound."""
        self._mounts: dict[str, Mount] = {}
        self._connections: set[_Connection] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, name: str, media: Media, **settings: Any) -> Mount:
        """Serve a file under a path, replacing an older one. `settings` are those of `Mount`."""
        mount = Mount(media, **settings)
        self._mounts[name.strip("/")] = mount
        return mount

    def remove(self, name: str) -> None:
        """Stop serving a mount and drop its clients."""
        mount = self._mounts.pop(name.strip("/"))
        self.drop(mount)

    def mount(self, name: str) -> Mount | None:
        """The path of this name."""
        return self._mounts.get(name)

    def url(self, name: str, *, login: bool = True) -> str:
        """The URL of a path, with its user name and password if `login` is true."""
        mount = self._mounts[name.strip("/")]
        who = f"{quote(mount.login.user, '')}:{quote(mount.login.password, '')}@" if login and mount.login else ""
        return f"{'rtsps' if self.encrypted else 'rtsp'}://{who}{self.host}:{self.port}/{name.strip('/')}"

    def viewers(self, mount: Mount) -> int:
        """How many clients are playing a path."""
        with self._lock:
            return sum(connection.plays is mount for connection in self._connections)

    def start(self) -> None:
        """Listen. After `refuse`, listen again on the same port."""
        if self._listener:
            return
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
        except OSError as error:
            listener.close()
            reason = f"cannot listen on {self.host}:{self.port}: {error.strerror}"
            raise ConfigurationError(f"{reason}; choose another port, 0 for a free one") from error
        listener.listen(64)
        listener.settimeout(0.2)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._acceptor = threading.Thread(target=self._accept, args=(listener,), name="rtsp-accept", daemon=True)
        self._acceptor.start()

    def refuse(self) -> None:
        """Refuse new connections until `start`; open ones go on."""
        listener, self._listener = self._listener, None
        if listener and self._acceptor:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the acceptor at once, on systems that support it
            self._acceptor.join()
            listener.close()

    def drop(self, mount: Mount | None = None) -> None:
        """Cut every connection, or those that play `mount`."""
        with self._lock:
            chosen = [one for one in self._connections if mount is None or one.plays is mount]
        for connection in chosen:
            connection.cut()

    def close(self) -> None:
        """Stop listening, cut every connection and wait for its threads."""
        self.refuse()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.cut()
        for connection in connections:
            connection.join()

    def _accept(self, listener: socket.socket) -> None:
        while self._listener is listener:
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            connection = _Connection(self, client)
            with self._lock:
                self._connections.add(connection)
            connection.thread.start()

    def count(self, method: str) -> None:
        """Count a request."""
        if method in METHODS.split(", "):
            self.requests[method] = self.requests.get(method, 0) + 1

    def forget(self, connection: _Connection) -> None:
        """Drop a connection that has ended."""
        with self._lock:
            self._connections.discard(connection)


class _Connection:
    """One client: reads its requests, answers them, and starts a player."""

    def __init__(self, server: RtspServer, client: socket.socket) -> None:
        client.setblocking(True)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_SECONDS, 0))
        self.plays: Mount | None = None
        self.thread = threading.Thread(target=self._serve, name="rtsp-client", daemon=True)
        self._server = server
        self._accepted = client
        self._client: Connected = client
        self._stop = threading.Event()
        self._writing = threading.Lock()
        self._player: threading.Thread | None = None
        self._channels: tuple[int, int] | None = None
        self._session = secrets.token_hex(8)
        self._nonce = secrets.token_hex(16)
        self._last_request = time.monotonic()

    def cut(self) -> None:
        """End the connection from any thread."""
        self._stop.set()
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    def join(self) -> None:
        """Wait for the threads of a connection that was cut."""
        self.thread.join()

    def _serve(self) -> None:
        try:
            if self._server.encrypted:
                self._client = self._server.encrypted(self._accepted)
            with self._client.makefile("rb") as stream:
                while not self._stop.is_set() and (request := _next_request(stream)):
                    self._last_request = time.monotonic()
                    self._server.count(request.method)
                    if not self._answer(request):
                        break
        except (OSError, ValueError, struct.error):
            pass  # the client is gone, or does not speak RTSP
        finally:
            self.cut()
            if self._player:
                self._player.join()
            self._client.close()
            self._server.forget(self)

    def _answer(self, request: Request) -> bool:
        """Answer one request; False ends the connection."""
        sequence = request.headers.get("cseq", "0")
        mount = self._server.mount(request.path)
        if mount and mount.faults.silent:
            return True
        if mount and self._stop.wait(mount.faults.slow.get(request.method, 0.0)):
            return False
        status, headers, body = self._reply(request, mount)
        if self.plays:
            headers.setdefault("Session", self._session)
        self._write(response(status, sequence, headers, body))
        if request.method == "PLAY" and status == 200 and mount and not self._player:
            self.plays = mount
            self._player = threading.Thread(target=self._play, args=(mount,), name="rtsp-play", daemon=True)
            self._player.start()
        return request.method != "TEARDOWN"

    def _reply(self, request: Request, mount: Mount | None) -> tuple[int, dict[str, str | list[str]], str]:
        if request.method == "OPTIONS":
            return 200, {"Public": METHODS}, ""
        if mount is None:
            return 404, {}, ""
        if mount.faults.status and mount.faults.status_of in (None, request.method):
            return mount.faults.status, {}, ""
        if mount.login and not self._admitted(mount, mount.login, request):
            return 401, {"WWW-Authenticate": challenge(mount.login, self._nonce)}, ""
        match request.method:
            case "DESCRIBE" if mount.faults.moved:
                return 302, {"Location": mount.faults.moved}, ""
            case "DESCRIBE":
                faults = mount.faults
                description = session_description(
                    mount.media.sps, mount.media.pps, sets=faults.described, sound=faults.sound
                )
                return (
                    200,
                    {"Content-Type": "application/sdp", "Content-Base": request.url.rstrip("/") + "/"},
                    description,
                )
            case "SETUP":
                return self._setup(request)
            case "PLAY" if self._channels is None:
                return 454, {}, ""
            case "PLAY":
                return 200, {"Session": self._session, "Range": "npt=now-"}, ""
            case "GET_PARAMETER" | "SET_PARAMETER" | "TEARDOWN":
                return 200, {}, ""
        return 501, {}, ""

    def _admitted(self, mount: Mount, login: Login, request: Request) -> bool:
        right = authorised(login, request, self._nonce)
        mount.wrong_logins += not right and "authorization" in request.headers
        return right and (mount.faults.locked_after is None or mount.wrong_logins < mount.faults.locked_after)

    def _setup(self, request: Request) -> tuple[int, dict[str, str | list[str]], str]:
        channels = interleaved_channels(request.headers.get("transport", ""))
        if channels is None:
            return 461, {}, ""
        if not request.url.endswith("/" + SOUND):
            self._channels = channels
        transport = f"RTP/AVP/TCP;unicast;interleaved={channels[0]}-{channels[1]}"
        return 200, {"Transport": transport, "Session": f"{self._session};timeout={self._server.session_seconds}"}, ""

    def _play(self, mount: Mount) -> None:
        if self._channels is None:
            return
        player = Player(mount, self._channels, self._write, self._stop, self._within_session)
        with contextlib.suppress(OSError):
            player.run()
        self.cut()

    def _within_session(self) -> bool:
        return time.monotonic() - self._last_request < self._server.session_seconds

    def _write(self, data: bytes) -> None:
        with self._writing:
            self._client.sendall(data)


def _next_request(stream: BinaryIO) -> Request | None:
    """The next request; None at the end. Packets from the client (RTCP) are skipped. Raises ValueError."""
    while first := stream.read(1):
        if first == b"$":
            _channel, length = struct.unpack(">BH", stream.read(3))
            stream.read(length)
        elif first not in b"\r\n":
            header = first
            while not header.endswith(b"\r\n\r\n"):
                line = stream.readline(_LARGEST_HEADER)
                if not line or len(header) > _LARGEST_HEADER:
                    return None
                header += line
            request = parse_request(header.decode("utf-8", "replace").removesuffix("\r\n\r\n"))
            length = int(request.headers.get("content-length", 0))
            if not 0 <= length <= _LARGEST_BODY:
                raise ValueError(f"a body of {length} bytes")
            stream.read(length)
            return request
    return None
