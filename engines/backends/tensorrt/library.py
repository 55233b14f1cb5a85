"""Which TensorRT is installed: the full one, or TensorRT for RTX, which parses and builds without a GPU."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from engines.errors import BackendUnavailable

NAMES = ("tensorrt", "tensorrt_rtx")


@dataclass(frozen=True, slots=True)
class Library:
    """An imported TensorRT. Both have the same classes."""

    name: str
    version: str
    module: Any

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def load_library() -> Library:
    """Import the first TensorRT that is installed. Raises BackendUnavailable."""
    reasons = []
    for name in NAMES:
        if importlib.util.find_spec(name) is None:
            continue
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError, RuntimeError) as error:  # its own libraries are missing, or of another version
            reasons.append(f"{name} does not load ({' '.join(str(error).split())})")
            continue
        return Library(name, str(module.__version__), module)
    found = "; ".join(reasons) or "TensorRT is not installed"
    raise BackendUnavailable(
        f"{found}; pip install 'actionwire[tensorrt]' on a machine with an NVIDIA GPU, or let the backend be openvino"
    )
