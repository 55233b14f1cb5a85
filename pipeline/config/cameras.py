"""The cameras: where their video comes from, and how a password stays out of the file."""

from __future__ import annotations

import os
import re
from typing import Any, Literal
from urllib.parse import quote

from pydantic import (
    Field,
    SecretStr,
    field_validator,
)

from pipeline.config.section import _Frozen

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LOGIN = re.compile(r"[^/?#]*://[^/?#]*@")
_NO_PATH = re.compile(r"[^/]*:(?!//)")
"""A colon before the first slash, and no `//` after it: of a protocol, a port or a login, and not of a path."""


class CameraSettings(_Frozen):
    """One video source."""

    url: SecretStr
    """rtsp://..., a path of a file, or /dev/videoN. Secret, because it may hold a password.

    `${NAME}` takes a value from the environment. Before the `@` the value is percent-encoded, but for a colon, so it
    may be a password or user:password as they are; elsewhere it goes in unchanged.
    """
    transport: Literal["tcp", "udp"] = "tcp"
    priority: int = Field(default=0)
    """Under overload cameras of lower priority are shed first."""
    loop: bool = False
    """Files only: start again at the end."""

    @field_validator("url", mode="before")
    @classmethod
    def _from_environment(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        missing = [name for name in _REFERENCE.findall(value) if name not in os.environ]
        if missing:
            raise ValueError(f"the url refers to ${{{missing[0]}}}, which is not set in the environment; set it first")
        login = _LOGIN.match(value)

        def filled(found: re.Match[str]) -> str:
            text = os.environ[found.group(1)]
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
