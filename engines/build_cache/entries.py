"""The entries of the build cache: what was built, under everything that decided it.

    FOLDER/KEY/plan          what the runtime loads
    FOLDER/KEY/entry.json    its sha256, the inputs in words, how long it took, who built it
    FOLDER/KEY.damaged/      set aside: of another host, changed, or half there
    FOLDER/KEY.lock          held while KEY is built; says who builds and how far

Two builds of one network differ byte by byte, so the inputs are the key, never the plan. An entry appears by one
rename.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engines.build_cache.private_folder import MODE, read_own, write_synced
from engines.canonical import canonical_json
from engines.folders import cache_directory
from engines.strict_json import parse_json

PLAN, ENTRY, DAMAGED, LOCK = "plan", "entry.json", ".damaged", ".lock"


@dataclass(frozen=True, slots=True)
class BuildInputs:
    """Everything that decides what a runtime builds of a network. Equal inputs share an entry."""

    network: str
    """Name of the file, such as `image.onnx`."""
    sha256: str
    """Of that file."""
    runtime: str
    """Name and version."""
    device: str
    """What the plan is for, as the runtime distinguishes it: name, compute capability and driver of a GPU."""
    settings: Mapping[str, Any]
    """Batch size, flags and limits, as JSON data."""
    builder: int
    """Version of our own code that builds; raised by whoever changes what it makes."""

    @property
    def key(self) -> str:
        """Name of the entry: the beginning of a sha256 over the inputs."""
        return hashlib.sha256(canonical_json(asdict(self))).hexdigest()[:32]


class Damaged(Exception):
    """An entry that is there and must not be used; the text says why."""


def build_folder() -> Path:
    """Folder of everything that was built on this host, in the user's cache."""
    return cache_directory() / "engines"


def load(folder: Path, inputs: BuildInputs) -> bytes | None:
    """Return what was built of `inputs`, checked against its sha256 now; None where nothing was. Raises Damaged."""
    path = folder / inputs.key
    if not path.exists():
        return None
    try:
        said = parse_json(read_own(path / ENTRY))
        plan = read_own(path / PLAN)
    except (OSError, ValueError) as error:
        raise Damaged(f"it cannot be read ({error})") from error
    if not isinstance(said, dict) or said.get("inputs") != json.loads(canonical_json(asdict(inputs))):
        raise Damaged("it was built of something else")
    if hashlib.sha256(plan).hexdigest() != said.get("sha256"):
        raise Damaged("its content does not match its sha256")
    with suppress(OSError):  # on a disk that takes no writes
        os.utime(path / ENTRY)  # `prune` keeps what was used
    return plan


def described(folder: Path, inputs: BuildInputs) -> dict[str, Any] | None:
    """Return what an entry says of itself, its size and seconds among it; None where there is none."""
    try:
        said = parse_json(read_own(folder / inputs.key / ENTRY))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def save(folder: Path, inputs: BuildInputs, plan: bytes, seconds: float) -> None:
    """Keep a plan under its inputs. The caller holds the lock of the key. Raises OSError."""
    said = {
        "sha256": hashlib.sha256(plan).hexdigest(),
        "inputs": asdict(inputs),
        "bytes": len(plan),
        "seconds": round(seconds, 3),
        "built": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "by": {"host": socket.gethostname(), "process": os.getpid()},
    }
    temporary = folder / f".{inputs.key}.{secrets.token_hex(4)}"
    try:
        temporary.mkdir(mode=MODE)
        write_synced(temporary / PLAN, plan)
        write_synced(temporary / ENTRY, json.dumps(said, indent=2).encode() + b"\n")
        set_aside(folder, inputs)  # where one is in the way that nobody may use
        temporary.rename(folder / inputs.key)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def set_aside(folder: Path, inputs: BuildInputs) -> None:
    """Move an entry out of the way, to be looked at; the one before it is forgotten. Raises OSError."""
    path, aside = folder / inputs.key, folder / f"{inputs.key}{DAMAGED}"
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
