"""How fast kernels are on this device, as TensorRT measured them: the next build measures only what is new."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from pathlib import Path

from engines.build_cache.private_folder import make_private, read_own, write_synced
from engines.errors import BuildCacheError
from engines.folders import cache_directory


def recall(library: str, device: str) -> bytes:
    """Return what was measured with this library on this device; empty where nothing was. TensorRT checks it itself."""
    try:
        make_private(_folder())
        return read_own(_path(library, device))
    except (OSError, BuildCacheError):
        return b""


def remember(library: str, device: str, content: bytes) -> None:
    """Keep it; a folder that cannot be written costs time at the next build, nothing else."""
    path = _path(library, device)
    with suppress(OSError, BuildCacheError):
        make_private(_folder())
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            write_synced(temporary, content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _folder() -> Path:
    return cache_directory() / "timing"


def _path(library: str, device: str) -> Path:
    return _folder() / hashlib.sha256(f"{library}\n{device}".encode()).hexdigest()[:32]
