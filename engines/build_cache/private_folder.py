"""A folder that nobody else can write to: what lies in it is loaded as code.

A plan of TensorRT is executable. The sha256 beside it finds damage; only the rights of the folder keep out somebody who
would write both.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from engines.errors import BuildCacheError

MODE = 0o700


def make_private(folder: Path) -> None:
    """Make `folder` with rights for its owner alone, or check the one that is there; rights to read are taken back.

    Raises BuildCacheError where it is no folder, belongs to another user or can be written to by one, OSError where it
    cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=MODE)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise BuildCacheError(f"{folder} is no folder, so nothing that was built can be kept there; {_REMEDY}")
    if found.st_uid != os.geteuid():
        raise BuildCacheError(
            f"{folder} belongs to user {found.st_uid} and this process runs as {os.geteuid()}: what another user built "
            f"is not executed; {_REMEDY}"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BuildCacheError(
            f"other users may write to {folder} (mode {stat.S_IMODE(found.st_mode):o}): what lies there is not "
            f"executed; {_REMEDY}"
        )
    if stat.S_IMODE(found.st_mode) != MODE:
        folder.chmod(MODE)


def read_own(path: Path) -> bytes:
    """Return the content of a file of this user. Raises OSError, also for a link or a file of another user."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(f"{path} is no file of user {os.geteuid()}")
        return file.read()


def write_synced(path: Path, content: bytes) -> None:
    """Write a new file that only its owner reads, and wait until the disk has it. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(handle)


_REMEDY = "remove it, or let ACTIONWIRE_CACHE name a folder of your own"
