"""Which tiles a network may use on this host: proven at the first load, and remembered.

The proof runs a network on some hundred rows; a ViT-B/32 takes seconds for that, so its outcome is kept in the user's
cache under everything that decides it: the network's hash, the runtime and its version, the precision and the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from engines.backends.host_cache import recall, remember
from engines.backends.network import memory_input
from engines.backends.rows import joined
from engines.backends.tiles import SIZES, Answer, Rows, proof_rows, prove
from engines.bundle.files import Bundle

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
    rows = known_rows(bundle, name)
    if rows is None:
        return (1,)
    sizes = LARGE_SIZES if len(content) > LARGE_BYTES else SIZES
    key = [*key, *map(str, sizes)]
    if (remembered := _sizes(recall("tiles", key), sizes)) is not None:
        return remembered
    found = prove({size: answer_at(size) for size in sizes}, proof_rows(rows))
    remember("tiles", key, {"sizes": found})
    return found


def known_rows(bundle: Bundle, name: str) -> Rows | None:
    """Return rows that the network is meant for, from the golden probe; None for a network that has none there.

    Memory is noise of the size of activations: the probe holds none.
    """
    golden, memory = bundle.golden(), bundle.manifest.memory
    if memory is not None and name == "image.onnx":
        random, count = np.random.default_rng(0), len(golden.images)
        buffers = [random.normal(size=(count, *shape)).astype(np.float32) for shape in memory.shapes]
        return joined({"images": golden.images, **{memory_input(at): buffer for at, buffer in enumerate(buffers)}})
    return {"image.onnx": golden.images, "head.onnx": golden.windows, "clip.onnx": golden.windows}.get(name)


def _sizes(remembered: Any, allowed: Sequence[int]) -> tuple[int, ...] | None:
    found = remembered.get("sizes") if isinstance(remembered, dict) else None
    fits = isinstance(found, list) and bool(found) and all(type(size) is int and size in allowed for size in found)
    return tuple(sorted(found, reverse=True)) if fits and found else None
