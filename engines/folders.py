"""The user's own folders, the same for every command: published data, the state of servers, and a cache.

They follow the XDG Base Directory Specification: the environment names them, else they lie in the home folder.
"""

from __future__ import annotations

import os
from pathlib import Path

_NAME = "actionwire"


def cache_directory() -> Path:
    """Folder for files that can be made again: $ACTIONWIRE_CACHE, else `actionwire` in the user's XDG cache."""
    if chosen := os.environ.get("ACTIONWIRE_CACHE"):
        return Path(chosen).expanduser().resolve()
    return _folder("XDG_CACHE_HOME", ".cache")


def state_directory() -> Path:
    """Folder for the state of this user's own servers: `actionwire` in the XDG state folder."""
    return _folder("XDG_STATE_HOME", ".local/state")


def data_directory() -> Path:
    """Folder for bundles that the user has published: `actionwire` in the XDG data folder."""
    return _folder("XDG_DATA_HOME", ".local/share")


def _folder(variable: str, otherwise: str) -> Path:
    # By the specification a relative path is ignored.
    named = Path(os.environ.get(variable, ""))
    return (named if named.is_absolute() else Path.home() / otherwise).resolve() / _NAME
