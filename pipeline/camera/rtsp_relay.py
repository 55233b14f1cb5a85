"""A second try with a camera that has refused FFmpeg: it goes through us, so that we log in and hear the answers.

    FFmpeg --requests without a login--> relay --requests with one--> camera
           <------ packets, answers ---- relay <--- packets, answers ---

FFmpeg keeps the status of a refusal to itself, and knows one kind of login. Cameras that need neither never come here.
Everything here may block.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from pipeline.camera.rtsp_login import Challenge, answer, answered_by_ffmpeg, best, challenges
from pipeline.camera.source_settings import SourceSettings
from pipeline.camera.tls import TlsConnection

_LARGEST = 64_000
"""Bytes of a header or a body that a camera may send."""
_PORTS = {"rtsp": 554, "rtsps": 322}


@dataclass(slots=True)
class Heard:
    """What the camera has answered so far."""

    status: int = 200
    """The last status that was passed on."""
    reason: str = ""
    """Its reason phrase."""
    offered: list[Challenge] = field(default_factory=list)
    """The challenges of the last refusal."""


class Relay:
    """One connection of FFmpeg to one camera. Raises OSError when the camera cannot be reached.

    tried: FFmpeg has sent the login that it can send, and it was refused. It is not sent again, since cameras lock an
    account after a few wrong ones.
    """

    def __init__(self, settings: SourceSettings, *, tried: bool) -> None:
        parts = urlsplit(settings.address)
        self.heard = Heard()
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._tried = tried
        self._spent = False
        self._challenge: Challenge | None = None
        self._count = 0
        self._nonce = secrets.token_hex(8)
        self._pending = b""
        host, port = parts.hostname or "", parts.port or _PORTS[settings.scheme]
        name = f"[{host}]" if ":" in host else host
        self._real = f"rtsp://{name}" + (f":{parts.port}" if parts.port else "")
        self._camera = _connected(settings, host, port)
        self._camera.settimeout(None)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._local = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = self._local + parts.path + (f"?{parts.query}" if parts.query else "")
        self._client: socket.socket | None = None
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="rtsp-relay", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End both connections and their threads."""
        for one in (self._listener, self._client, self._camera):
            if one:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
        self._thread.join()

    def _serve(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._client, _ = self._listener.accept()
            self._listener.close()
            back = threading.Thread(target=self._answers, args=(self._client,), name="rtsp-relay-back", daemon=True)
            back.start()
            with contextlib.suppress(OSError, ValueError), self._client.makefile("rb") as stream:
                for message in _messages(stream):
                    if message[:1] != b"$":
                        self._count += 1
                        message = message.replace(self._local.encode(), self._real.encode(), 1)
                        self._pending = message
                        message = self._signed(message)
                    self._camera.sendall(message)
            with contextlib.suppress(OSError):
                self._camera.shutdown(socket.SHUT_RDWR)
            back.join()

    def _answers(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), self._camera.makefile("rb") as stream:
            for message in _messages(stream):
                if message[:1] == b"$" or not self._again(message):
                    client.sendall(message)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def _again(self, message: bytes) -> bool:
        """Note an answer; True where the request was sent again with a login, so that this answer is not passed on."""
        first, *lines = message.split(b"\r\n\r\n")[0].decode("utf-8", "replace").split("\r\n")
        if not first.startswith("RTSP/"):
            return False  # a request of the camera
        _, status, reason = (*first.split(" ", 2), "", "")[:3]
        if int(status) == 401:
            pairs = [line.partition(":") for line in lines]
            asked = [value for name, _, value in pairs if name.strip().lower() == "www-authenticate"]
            self.heard.offered = challenges(asked)
            if self._answerable():
                self._count = 1
                self._camera.sendall(self._signed(self._pending))
                return True
            self._challenge, self._spent = None, True  # FFmpeg asks once more; the login must not be sent again
        if int(status) >= 400:
            self.heard.status, self.heard.reason = int(status), reason
        return False

    def _answerable(self) -> bool:
        """Choose a challenge; False where no login is left to send."""
        found = best(self.heard.offered)
        stale = found is not None and found.fields.get("stale", "").lower() == "true"
        if self._spent or found is None or not self._user or (self._challenge is not None and not stale):
            return False
        if self._tried and self._challenge is None and answered_by_ffmpeg(self.heard.offered):
            return False
        self._challenge = found
        return True

    def _signed(self, request: bytes) -> bytes:
        """A request with the login, once the camera has asked for one."""
        if self._challenge is None:
            return request
        method, uri, _ = request.split(b"\r\n", 1)[0].decode("utf-8", "replace").split(" ", 2)
        line = answer(self._challenge, self._user, self._password, method, uri, self._nonce, self._count)
        head, separator, body = request.partition(b"\r\n\r\n")
        return head + b"\r\nAuthorization: " + line.encode() + separator + body


def _connected(settings: SourceSettings, host: str, port: int) -> socket.socket | TlsConnection:
    plain = socket.create_connection((host, port), settings.open_seconds)
    if settings.scheme != "rtsps":
        return plain
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # as FFmpeg does; cameras sign their own
    try:
        return TlsConnection(plain, context, host=host)
    except OSError:
        plain.close()
        raise


def _messages(stream: BinaryIO) -> Iterator[bytes]:
    """Requests, answers and packets, each whole (RFC 2326, section 10.12). Raises ValueError for anything else."""
    while first := stream.read(1):
        if first == b"$":
            head = stream.read(3)
            yield first + head + stream.read(int.from_bytes(head[1:], "big"))
            continue
        if first in b"\r\n":
            continue
        message = first
        length = 0
        while not message.endswith(b"\r\n\r\n"):
            line = stream.readline(_LARGEST)
            if not line or len(message) > _LARGEST:
                raise ValueError("no message of RTSP")
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":", 1)[1])
            message += line
        if not 0 <= length <= _LARGEST:
            raise ValueError("a body beyond all measure")
        yield message + stream.read(length)


@contextlib.contextmanager
def relayed(settings: SourceSettings, *, tried: bool) -> Iterator[Relay]:
    """A relay to a camera, closed at the end. Raises OSError."""
    relay = Relay(settings, tried=tried)
    try:
        yield relay
    finally:
        relay.close()
