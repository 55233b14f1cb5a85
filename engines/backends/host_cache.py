"""What was measured or proven on this host, kept in the user's cache under everything that decides it.

A file that is damaged counts as none, and a cache that cannot be written costs time at the next start, nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engines.folders import cache_directory

_FACTS = (
    "vendor_id",
    "cpu family",
    "model",
    "model name",
    "stepping",
    "flags",
    "CPU implementer",
    "CPU part",
    "Features",
)


def recall(kind: str, key: Sequence[str]) -> Any:
    """Return what was remembered under `key` on a host with this processor, as JSON data; None where nothing was."""
    try:
        return json.loads(_path(kind, key).read_bytes())
    except (OSError, ValueError):
        return None


def remember(kind: str, key: Sequence[str], data: object) -> None:
    """Keep JSON data under `key`."""
    path = _path(kind, key)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        temporary.write_text(json.dumps(data) + "\n", encoding="utf-8")
        temporary.replace(path)


def _path(kind: str, key: Sequence[str]) -> Path:
    digest = hashlib.sha256("\n".join([*key, _processor()]).encode()).hexdigest()[:32]
    return cache_directory() / kind / f"{digest}.json"


def _processor() -> str:
    """Return what a runtime chooses its kernels by: the processor, its flags, and what the environment forbids."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    lines = (line.partition(":") for line in first.splitlines())
    # oneDNN, which OpenVINO computes with, can be told by the environment to use lesser instructions.
    told = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(("ONEDNN_", "OV_"))]
    return "\n".join([f"{key.strip()}={value.strip()}" for key, _, value in lines if key.strip() in _FACTS] + told)
