"""The login of RTSP: which of a camera's challenges can be answered, and the answer (RFC 7616, RFC 7617). Pure.

FFmpeg knows digest with MD5 only, and of several challenges it takes the last digest.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_SCHEME = re.compile(r"(?:^|,)\s*([A-Za-z][A-Za-z0-9-]*)\s+(?=[A-Za-z][\w-]*\s*=)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_FIELD = re.compile(r'([A-Za-z][\w-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
_STRENGTH = ("MD5", "SHA-512-256", "SHA-256")
_FFMPEG = ("MD5", "MD5-SESS")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a `WWW-Authenticate` header."""

    scheme: str
    """In small letters."""
    fields: dict[str, str] = field(repr=False)
    """Names in small letters."""

    @property
    def algorithm(self) -> str:
        """The hash of a digest in capitals, `-SESS` included."""
        return self.fields.get("algorithm", "MD5").upper()

    @property
    def qops(self) -> tuple[str, ...]:
        """The qualities of protection that a digest offers; empty where it knows none."""
        return tuple(one.strip().lower() for one in self.fields.get("qop", "").split(",") if one.strip())

    @property
    def name(self) -> str:
        """For messages."""
        return f"digest {self.algorithm}" if self.scheme == "digest" else self.scheme

    @property
    def known(self) -> bool:
        """True where `answer` can answer it."""
        if self.scheme == "basic":
            return True
        hashed = self.algorithm.removesuffix("-SESS") in _HASHES
        return self.scheme == "digest" and hashed and (not self.qops or bool({"auth", "auth-int"} & set(self.qops)))


def challenges(headers: Sequence[str]) -> list[Challenge]:
    """The challenges of all `WWW-Authenticate` headers of an answer, in their order; several may share one header."""
    found = []
    for header in headers:
        bare = _QUOTED.sub(lambda text: '"' + "_" * (len(text[0]) - 2) + '"', header)
        schemes = list(_SCHEME.finditer(bare))
        if not schemes and (bare_name := header.strip()):
            found.append(Challenge(bare_name.split()[0].lower(), {}))  # Negotiate, for one, has no fields
        for scheme, end in zip(schemes, [*(one.start() for one in schemes[1:]), len(header)], strict=False):
            pairs = _FIELD.findall(header[scheme.end() : end])
            fields = {name.lower(): quoted.replace('\\"', '"') or plain for name, quoted, plain in pairs}
            found.append(Challenge(scheme[1].lower(), fields))
    return found


def best(offered: Sequence[Challenge]) -> Challenge | None:
    """The strongest challenge that can be answered; None where there is none."""
    known = [one for one in offered if one.known]

    def strength(one: Challenge) -> int:
        return -1 if one.scheme == "basic" else _STRENGTH.index(one.algorithm.removesuffix("-SESS"))

    return max(known, key=strength, default=None)


def answered_by_ffmpeg(offered: Sequence[Challenge]) -> bool:
    """True where FFmpeg has answered: it takes the last digest, else basic."""
    digests = [one for one in offered if one.scheme == "digest"]
    if digests:
        return digests[-1].algorithm in _FFMPEG and (not digests[-1].qops or "auth" in digests[-1].qops)
    return any(one.scheme == "basic" for one in offered)


def answer(challenge: Challenge, user: str, password: str, method: str, uri: str, nonce: str, count: int) -> str:
    """The value of `Authorization` for one request without a body.

    nonce: the client's own. count: how many requests have answered this challenge, this one included.
    """
    if challenge.scheme == "basic":
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    given = challenge.fields
    digest = _hash(challenge.algorithm.removesuffix("-SESS"))
    realm, server = given.get("realm", ""), given.get("nonce", "")
    qop = "auth" if "auth" in challenge.qops else "auth-int" if challenge.qops else ""
    secret = digest(f"{user}:{realm}:{password}")
    if challenge.algorithm.endswith("-SESS"):
        secret = digest(f"{secret}:{server}:{nonce}")
    target = digest(f"{method}:{uri}" + (f":{digest('')}" if qop == "auth-int" else ""))
    middle = [server, f"{count:08x}", nonce, qop] if qop else [server]
    parts = [("username", user), ("realm", realm), ("nonce", server), ("uri", uri)]
    parts.append(("response", digest(":".join([secret, *middle, target]))))
    parts += [(name, given[name]) for name in ("opaque",) if name in given]
    text = ", ".join(f'{name}="{_quoted(value)}"' for name, value in parts)
    if "algorithm" in given:
        text += f", algorithm={given['algorithm']}"
    if qop:
        text += f', qop={qop}, nc={count:08x}, cnonce="{nonce}"'
    elif challenge.algorithm.endswith("-SESS"):
        text += f', cnonce="{nonce}"'
    return "Digest " + text


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _hash(name: str) -> Callable[[str], str]:
    return lambda text: hashlib.new(_HASHES[name], text.encode(), usedforsecurity=False).hexdigest()
