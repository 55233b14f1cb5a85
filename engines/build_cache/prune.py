"""What nobody used for a while leaves the build cache, and so does what was set aside or left half-written."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from engines.build_cache.build_lock import try_lock
from engines.build_cache.entries import DAMAGED, ENTRY, LOCK
from engines.build_cache.private_folder import make_private
from engines.strict_json import parse_json

UNUSED_DAYS = 30.0
_HALF_WRITTEN_SECONDS = 86400.0
"""A temporary folder of this age belongs to nobody who still writes."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """One thing that was removed."""

    path: Path
    what: str
    """In words: of which network, or why it was no entry."""
    size: int
    """In bytes."""


def prune(folder: Path, *, days: float = UNUSED_DAYS, now: float | None = None) -> list[Pruned]:
    """Remove entries that were not loaded for `days`, and whatever is no entry; return what was removed.

    What is being built at the moment stays. now: seconds since 1970, for tests. Raises BuildCacheError for a folder of
    another user.
    """
    if not folder.exists():
        return []
    make_private(folder)
    moment = time.time() if now is None else now
    removed = []
    for path in sorted(folder.iterdir()):
        if path.name.endswith(LOCK) or not path.is_dir() or (what := _spent(path, moment, days * 86400)) is None:
            continue
        key = path.name.strip(".").split(".")[0]
        if (handle := try_lock(folder / f"{key}{LOCK}")) is None:
            continue
        try:
            removed.append(Pruned(path, what, _size(path)))
            shutil.rmtree(path)
        finally:
            os.close(handle)
    _remove_locks(folder)
    return removed


def _spent(path: Path, now: float, seconds: float) -> str | None:
    """Say what is to go; None for what stays."""
    if path.name.endswith(DAMAGED):
        return "was set aside"
    if path.name.startswith("."):
        return "was never finished" if now - path.stat().st_mtime > _HALF_WRITTEN_SECONDS else None
    try:
        used = (path / ENTRY).stat().st_mtime
    except OSError:
        return "is no entry"
    return f"{_words(path)}, unused for {(now - used) / 86400:.0f} days" if now - used >= seconds else None


def _words(path: Path) -> str:
    try:
        inputs = parse_json((path / ENTRY).read_bytes())["inputs"]
        return f"{str(inputs['network'])[:80]} for {str(inputs['device'])[:80]} ({str(inputs['runtime'])[:80]})"
    except (OSError, ValueError, KeyError, TypeError):
        return "an entry that cannot be read"


def _size(path: Path) -> int:
    return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())


def _remove_locks(folder: Path) -> None:
    """Remove the lock files of keys that are gone; one that somebody holds stays."""
    for path in folder.glob(f"*{LOCK}"):
        if (folder / path.name.removesuffix(LOCK)).exists() or (handle := try_lock(path)) is None:
            continue
        path.unlink(missing_ok=True)
        os.close(handle)
