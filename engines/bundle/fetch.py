"""A bundle that somebody else made: an archive at an address, which must be the one whose sha256 was told elsewhere.

    tar -C BUNDLE -czf bundle.tar.gz .         how the archive is made; gzip, bzip2, xz or no compression
    sha256sum bundle.tar.gz                    what its maker tells, not beside the archive

The whole archive is checked before anything in it is read. Files are taken by their names and never by their paths, so
nothing is written outside of one folder; then the bundle is checked like any other.
"""

from __future__ import annotations

import hashlib
import lzma
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO

from engines.bundle.files import Bundle
from engines.bundle.manifest import MANIFEST_FILE
from engines.bundle.store import Store, add
from engines.errors import BundleError, TamperedBundle

MOST_BYTES = 16 * 2**30
"""Of the archive, and of what it holds."""
MOST_FILES = 64
SCHEMES = ("https", "http", "file")
_TIMEOUT_SECONDS = 60.0
_PIECE = 2**20

Told = Callable[[str, float], None]


def fetch(url: str, sha256: str, store: Store, told: Told = lambda what, done: None) -> Bundle:
    """Put the bundle of the archive at `url` into the store, where no channel stands on it yet; return it as stored.

    url: https, http or file. sha256: of the archive, 64 hexadecimal digits. told: hears of the progress.
    Raises BundleError for an address that cannot be read and for an archive that holds no bundle, TamperedBundle where
    it is another archive, and what `engines.bundle.store.add` raises.
    """
    if len(sha256) != 64 or not set(sha256.lower()) <= set("0123456789abcdef"):
        raise BundleError(f"{sha256!r} is no sha256; give the 64 hexadecimal digits that the maker of the bundle tells")
    shown = _without_login(url)
    with tempfile.TemporaryDirectory(prefix="actionwire-") as name:
        folder = Path(name)
        archive, unpacked = folder / "archive", folder / "bundle"
        found = _download(url, shown, archive, told)
        if found != sha256.lower():
            raise TamperedBundle(
                f"{shown} has the sha256 {found}, not {sha256.lower()}: it is another file; do not use it, "
                "and ask its maker"
            )
        told("unpacking", 1.0)
        unpacked.mkdir()
        _unpack(archive, unpacked, shown)
        if not (unpacked / MANIFEST_FILE).is_file():
            raise BundleError(f"{shown} holds no bundle: it has no {MANIFEST_FILE}; make it again from the bundle")
        return add(store, unpacked)


def _download(url: str, shown: str, target: Path, told: Told) -> str:
    """Write what is at the address to `target`, and return its sha256."""
    if (scheme := urllib.parse.urlsplit(url).scheme) not in SCHEMES:
        raise BundleError(f"{shown} is no address that can be fetched; use {', '.join(SCHEMES)}")
    digest, size = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as source, target.open("wb") as file:
            announced = int(source.headers.get("Content-Length") or 0)
            while piece := source.read(_PIECE):
                size += len(piece)
                if size > MOST_BYTES:
                    raise BundleError(f"{shown} is larger than {MOST_BYTES / 2**30:g} GiB, and no bundle is; check it")
                digest.update(piece)
                file.write(piece)
                told(f"fetching {shown}", min(1.0, size / announced) if announced else 0.0)
    except BundleError:
        raise
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise BundleError(f"{shown} cannot be fetched by {scheme} ({reason}); check the address") from error
    return digest.hexdigest()


def _unpack(archive: Path, folder: Path, shown: str) -> None:
    """Write the regular files of an archive into one folder, whatever folders they lie in there."""
    left = MOST_BYTES
    try:
        with tarfile.open(archive, "r:*") as tar:
            for count, member in enumerate(tar):
                if count >= MOST_FILES:
                    raise BundleError(f"{shown} holds more than {MOST_FILES} files, and no bundle does")
                if member.isdir():
                    continue
                name = PurePosixPath(member.name).name
                source = tar.extractfile(member) if member.isreg() else None
                if source is None or not name or (folder / name).exists():
                    raise BundleError(
                        f"{shown} holds {member.name!r}, which no bundle has; make it again from the bundle"
                    )
                left -= _copy(source, folder / name, left, shown)
    except BundleError:
        raise
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as error:
        raise BundleError(f"{shown} is no tar archive that can be read ({error}); make it again") from error


def _copy(source: IO[bytes], target: Path, most: int, shown: str) -> int:
    """Copy at most `most` bytes: a small archive can unpack to more than any disk holds."""
    with target.open("wb") as file:
        while piece := source.read(_PIECE):
            if file.tell() + len(piece) > most:
                raise BundleError(f"{shown} unpacks to more than {MOST_BYTES / 2**30:g} GiB, and no bundle does")
            file.write(piece)
        return file.tell()


def _without_login(url: str) -> str:
    """Return the address without user name, password and what follows a question mark, which may be a signature."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "the address"
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))
