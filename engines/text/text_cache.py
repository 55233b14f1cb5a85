"""Embeddings of label texts on disk, by embedding space, template set and text: a host embeds each text once.

A file that is damaged counts as none, and a folder that cannot be written costs time at the next start, nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.canonical import canonical_json

Floats = npt.NDArray[np.float32]


class TextCache:
    """A folder of embeddings of one embedding space, shared by bundles and processes."""

    def __init__(self, folder: Path, space: str, shape: tuple[int, int]) -> None:
        """folder: of the cache, created when missing. shape: P templates, D dimensions of every text."""
        self.folder = folder / "texts" / space
        self._shape = shape

    def read(self, templates: Sequence[str], text: str) -> Floats | None:
        """Return the embeddings [P, D] of a text; None where there are none or a crash left half a file."""
        try:
            found = np.load(self._path(templates, text), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        fits = found.shape == self._shape and found.dtype == np.float32 and bool(np.isfinite(found).all())
        return found if fits else None

    def write(self, templates: Sequence[str], text: str, embeddings: Floats) -> bool:
        """Keep the embeddings [P, D] of a text; False where the folder cannot be written."""
        path = self._path(templates, text)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                np.save(file, embeddings, allow_pickle=False)
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            return False
        return True

    def _path(self, templates: Sequence[str], text: str) -> Path:
        key = hashlib.sha256(canonical_json([templates, text])).hexdigest()
        return self.folder / f"{key}.npy"
