"""Which tiles a network may use on this host: proven at the first load, and remembered.

The proof runs a network on some hundred rows; a ViT-B/32 takes seconds for that, so its outcome is kept in the user's
cache under everything that decides it: the network's hash, the runtime and its version, the precision and the CPU.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from engines.backends.tiles import SIZES, Answer, Rows, proof_rows, prove
from engines.bundle.files import Bundle
from engines.folders import cache_directory

LARGE_BYTES = 64 * 2**20
LARGE_SIZES = (4, 1)
"""Sizes of a network above `LARGE_BYTES`: every size holds the weights once more. A ViT-B/32 gains 17 % from 1 to 4 and
another 4 % from 4 to 8, and a batch of 8 spreads over two streams as two tiles of 4."""


def proven_sizes(
    key: Sequence[str], content: bytes, answer_at: Callable[[int], Answer], bundle: Bundle, name: str
) -> tuple[int, ...]:
    """Return the sizes of tiles to use for a network, descending; see `engines.backends.tiles.prove`.

    key: what decides the outcome beside the CPU and this code. answer_at: opens the network at one size.
    """
    rows = _known_rows(bundle, name)
    if rows is None:
        return (1,)
    sizes = LARGE_SIZES if len(content) > LARGE_BYTES else SIZES
    path = cache_directory() / "tiles" / f"{_digest([*key, *map(str, sizes), _processor()])}.json"
    if (remembered := _read(path, sizes)) is not None:
        return remembered
    found = prove({size: answer_at(size) for size in sizes}, proof_rows(rows))
    _write(path, found)
    return found


def _known_rows(bundle: Bundle, name: str) -> Rows | None:
    golden = bundle.golden()
    return {"image.onnx": golden.images, "head.onnx": golden.windows, "clip.onnx": golden.windows}.get(name)


def _read(path: Path, sizes: Sequence[int]) -> tuple[int, ...] | None:
    try:
        found = json.loads(path.read_bytes())["sizes"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    fits = isinstance(found, list) and bool(found) and all(type(size) is int and size in sizes for size in found)
    return tuple(sorted(found, reverse=True)) if fits else None


def _write(path: Path, sizes: tuple[int, ...]) -> None:
    # A cache that cannot be written costs time at the next start, nothing else.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        temporary.write_text(json.dumps({"sizes": sizes}) + "\n", encoding="utf-8")
        temporary.replace(path)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _processor() -> str:
    """Return what the kernels of this host are chosen by: its processor and the flags of it."""
    kept = (
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
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    lines = (line.partition(":") for line in first.splitlines())
    # oneDNN, which OpenVINO computes with, can be told by the environment to use lesser instructions.
    told = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(("ONEDNN_", "OV_"))]
    return "\n".join([f"{key.strip()}={value.strip()}" for key, _, value in lines if key.strip() in kept] + told)
