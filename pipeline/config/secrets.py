"""Secrets in files: a folder in which each file is a secret, named as its variable of the environment would be.

    /run/secrets/DOOR_PASSWORD                  for ${DOOR_PASSWORD} in the url of a camera
    /run/secrets/ACTIONWIRE_KAFKA__PASSWORD     for any setting; small letters will do

Docker, Podman, Kubernetes and systemd's LoadCredential all bring such a folder. A variable of the environment wins over
the file of its name. One line break at the end of a file is no part of the secret.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from pipeline.errors import ConfigurationError

VARIABLE = "ACTIONWIRE_SECRETS"
USUAL = Path("/run/secrets")
_LARGEST = 64 * 1024
_MOST = 1000

_chosen: ContextVar[Path | None] = ContextVar("secrets", default=None)


def folder(named: object = None) -> Path | None:
    """The folder in force: $ACTIONWIRE_SECRETS, else `named` (of a settings file), else /run/secrets where it exists.

    Raises ConfigurationError for one that was named and is not there.
    """
    text = os.environ.get(VARIABLE) or named
    if not isinstance(text, str | Path) or not str(text):
        return _chosen.get() or (USUAL if USUAL.is_dir() else None)
    found = Path(text).expanduser()
    if not found.is_dir():
        raise ConfigurationError(f"secrets: there is no folder {found}; mount it, or name another in {VARIABLE}")
    return found


@contextmanager
def reading_from(where: Path | None) -> Iterator[None]:
    """Take secrets from this folder inside a `with` block."""
    before = _chosen.set(where)
    try:
        yield
    finally:
        _chosen.reset(before)


def value_of(name: str) -> str | None:
    """The variable of this name, else the content of the file of this name; None where there is neither.

    Raises ConfigurationError for a file that cannot be read.
    """
    if (value := os.environ.get(name)) is not None:
        return value
    where = folder()
    file = where and where / name
    return _content(file) if file and file.is_file() else None


def settings_in(where: Path | None, prefix: str) -> Mapping[str, str]:
    """The files whose names begin with `prefix`, in small letters, as variables of the environment."""
    return {file.name.lower(): _content(file) for file in _files(where) if file.name.lower().startswith(prefix)}


def signature(where: Path | None) -> tuple[tuple[str, int, int, int], ...]:
    """Changes when a secret does."""
    found = []
    for file in _files(where):
        try:
            of = file.stat()
        except OSError:  # it is being replaced
            continue
        found.append((file.name, of.st_mtime_ns, of.st_size, of.st_ino))
    return tuple(found)


def _files(where: Path | None) -> list[Path]:
    try:
        return [one for one in sorted(where.iterdir())[:_MOST] if one.is_file()] if where else []
    except OSError:
        return []


def _content(file: Path) -> str:
    try:
        if file.stat().st_size > _LARGEST:
            raise ConfigurationError(f"the secret {file} is larger than {_LARGEST} bytes; that is no password")
        text = file.read_text()
    except OSError as error:
        raise ConfigurationError(f"cannot read the secret {file}: {error.strerror}; change its permissions") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"the secret {file} is not text in UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")
