"""The cameras: where their video comes from, and how a password stays out of the file."""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field, SecretStr, field_validator

from pipeline.config import secrets
from pipeline.config.section import Section

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LOGIN = re.compile(r"[^/?#]*://[^/?#]*@")
_NO_PATH = re.compile(r"[^/]*:(?!//)")
"""A colon before the first slash, and no `//` after it: part of a protocol, a port or a login, not of a path."""


class CameraSettings(Section):
    """One video source."""

    url: SecretStr = Field(examples=["rtsp://viewer:${DOOR_PASSWORD}@10.0.0.7/stream1"])
    """Where the video comes from: rtsp://..., the path of a file, or /dev/videoN; ${NAME} is a secret or a variable.

    It is secret, because it may hold a password. Before the `@` a value from the environment is percent-encoded, except
    for a colon, so it may be a password or user:password as a person types them. Elsewhere it goes in unchanged.
    """
    transport: Literal["tcp", "udp"] = "tcp"
    """How RTSP carries the video; udp only where tcp does not work."""
    priority: int = 0
    """Under overload cameras of lower priority are shed first."""
    loop: bool = False
    """For files: start again at the end."""

    @field_validator("url", mode="before")
    @classmethod
    def _from_environment(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        values = {name: secrets.value_of(name) for name in _REFERENCE.findall(value)}
        missing = [name for name, found in values.items() if found is None]
        if missing:
            where = secrets.folder()
            also = f", and {where} has no file of that name" if where else ""
            raise ValueError(
                f"the url refers to ${{{missing[0]}}}, which is not set in the environment{also}; set it first"
            )
        login = _LOGIN.match(value)

        def filled(found: re.Match[str]) -> str:
            text = values[found.group(1)] or ""
            return quote(text, safe=":") if login and found.end() <= login.end() else text

        return _REFERENCE.sub(filled, value)

    @field_validator("url")
    @classmethod
    def _url_or_path(cls, value: SecretStr) -> SecretStr:
        """Refuse what was meant as one and would be read as the other."""
        text = value.get_secret_value()
        if text.lower().startswith("file:"):
            raise ValueError("the url of a file is its path; leave file: out")
        if _NO_PATH.match(text):
            form = "write rtsp://user:password@host/path, or ./ before the name of a file"
            raise ValueError(f"the url has a colon, as after a protocol or in a login, but no rtsp://; {form}")
        return value
