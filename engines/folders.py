"""The user's own folders, the same for every command: what is kept, what a server keeps, what can be made again.

They follow the XDG Base Directory Specification: the environment says where they lie, else it is the home folder.
"""

from __future__ import annotations

import os
from pathlib import Path

_NAME = "actionwire"


def cache_directory() -> Path:
    """Folder for what can be fetched or made again: $ACTIONWIRE_CACHE, else `actionwire` in the user's XDG cache."""
    if chosen := os.environ.get("ACTIONWIRE_CACHE"):
        return Path(chosen).expanduser().resolve()
    return _folder("XDG_CACHE_HOME", ".cache")


def state_directory() -> Path:
    """Folder for what this user's own servers keep: `actionwire` in the XDG state folder."""
    return _folder("XDG_STATE_HOME", ".local/state")


def data_directory() -> Path:
    """Folder for what the user has published: `actionwire` in the XDG data folder."""
    return _folder("XDG_DATA_HOME", ".local/share")


def _folder(variable: str, otherwise: str) -> Path:
    # The specification says that a relative path is to be ignored.
    named = Path(os.environ.get(variable, ""))
    return (named if named.is_absolute() else Path.home() / otherwise).resolve() / _NAME
