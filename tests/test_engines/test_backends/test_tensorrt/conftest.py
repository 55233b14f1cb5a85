"""The real builder and parser, from TensorRT for RTX, which needs no GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.backends.tensorrt.library import Library


@pytest.fixture(scope="session")
def rtx() -> Library:
    """The library as our code loads it."""
    module: Any = pytest.importorskip("tensorrt_rtx")
    return Library("tensorrt_rtx", module.__version__, module)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("ACTIONWIRE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
