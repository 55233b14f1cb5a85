"""RTSP 1.0 messages, session descriptions and login, as text (RFC 2326, RFC 2617, RFC 6184 section 8). Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal
from urllib.parse import urlsplit

from pipeline.local.rtsp.rtp import CLOCK, PAYLOAD_TYPE

METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, SET_PARAMETER, TEARDOWN"
REALM = "actionwire"
TRACK, SOUND = "track1", "track0"

_REASONS = {
    200: "OK",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    453: "Not Enough Bandwidth",
    454: "Session Not Found",
    461: "Unsupported Transport",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}
_FIELD = re.compile(r'([\w-]+)=(?:"([^"]*)"|([^\s,]+))')


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are lower case."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    @property
    def path(self) -> str:
        """The path of the requested stream, without slashes at its ends and without the track."""
        return urlsplit(self.url).path.strip("/").removesuffix("/" + TRACK).removesuffix("/" + SOUND)


@dataclass(frozen=True, slots=True)
class Login:
    """The login of a path. Digest is MD5 without `qop`, as cameras do it; basic sends the password in the clear."""

    user: str = field(repr=False)
    password: str = field(repr=False)
    scheme: Literal["digest", "basic"] = "digest"
    challenges: tuple[str, ...] = ()
    """Values of the `WWW-Authenticate` headers that are sent, in this order, {nonce} and {realm} filled in; the digests
    among them are taken with MD5, SHA-256 and SHA-512-256, `-sess` or not. Empty for one of `scheme`."""


def parse_request(text: str) -> Request:
    """Read a request up to its empty line. Raises ValueError."""
    first, *lines = text.split("\r\n")
    method, url, _version = first.split(" ", 2)
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return Request(method, url, {name.strip().lower(): value.strip() for name, value in pairs})


def response(status: int, sequence: str, headers: Mapping[str, str | list[str]] | None = None, body: str = "") -> bytes:
    """A response with its CSeq; Content-Length is added where there is a body."""
    lines = [f"RTSP/1.0 {status} {_REASONS.get(status, 'Error')}", f"CSeq: {sequence}"]
    for name, value in (headers or {}).items():
        lines += [f"{name}: {one}" for one in ([value] if isinstance(value, str) else value)]
    if body:
        lines.append(f"Content-Length: {len(body.encode())}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def session_description(sps: bytes, pps: bytes, *, sets: bool = True, sound: bool = False) -> str:
    """SDP of one H.264 track, with its parameter sets or without; `sound` puts a track of G.711 before it."""
    known = ";sprop-parameter-sets=" + ",".join(base64.b64encode(part).decode() for part in (sps, pps)) if sets else ""
    lines = [
        "v=0",
        "o=- 0 0 IN IP4 127.0.0.1",
        "s=actionwire",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "a=control:*",
        *(["m=audio 0 RTP/AVP 0", f"a=control:{SOUND}"] if sound else []),
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK}",
        f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;profile-level-id={sps[1:4].hex()}{known}",
        f"a=control:{TRACK}",
    ]
    return "\r\n".join(lines) + "\r\n"


def interleaved_channels(transport: str) -> tuple[int, int] | None:
    """The channels for RTP and RTCP that a Transport header requests; None for another transport than TCP."""
    if "RTP/AVP/TCP" not in transport:
        return None
    found = re.search(r"interleaved=(\d+)-(\d+)", transport)
    return (int(found[1]), int(found[2])) if found else (0, 1)


def challenge(login: Login, nonce: str) -> list[str]:
    """Values of WWW-Authenticate."""
    if login.challenges:
        return [one.replace("{realm}", REALM).replace("{nonce}", nonce) for one in login.challenges]
    return [f'Basic realm="{REALM}"' if login.scheme == "basic" else f'Digest realm="{REALM}", nonce="{nonce}"']


def authorised(login: Login, request: Request, nonce: str) -> bool:
    """True when the request proves that its sender knows the login (RFC 7616; digest with or without `qop`)."""
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    offered = " ".join(challenge(login, nonce)).lower()
    if scheme.lower() not in ("basic", "digest") or scheme.lower() not in offered:
        return False
    if scheme.lower() == "basic":
        given = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
        return hmac.compare_digest(rest.strip().encode(), given.encode())
    parts = {name: quoted or plain for name, quoted, plain in _FIELD.findall(rest)}
    if parts.get("nonce") != nonce or parts.get("username") != login.user:
        return False
    algorithm = parts.get("algorithm", "MD5")
    name = algorithm.upper().removesuffix("-SESS")
    if name not in _HASHES or (name != "MD5" and algorithm.lower() not in offered):
        return False
    digest = partial(_digest, _HASHES[name])
    secret = digest(f"{login.user}:{REALM}:{login.password}")
    if algorithm.upper().endswith("-SESS"):
        secret = digest(f"{secret}:{nonce}:{parts.get('cnonce', '')}")
    target = f"{request.method}:{parts.get('uri', '')}"
    target = digest(f"{target}:{digest('')}" if parts.get("qop") == "auth-int" else target)
    middle = [nonce, parts.get("nc", ""), parts.get("cnonce", ""), parts["qop"]] if parts.get("qop") else [nonce]
    expected = digest(":".join([secret, *middle, target]))
    return hmac.compare_digest(parts.get("response", "").encode(), expected.encode())


_HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


def _digest(name: str, text: str) -> str:
    return hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()
