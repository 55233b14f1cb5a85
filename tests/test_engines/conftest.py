"""Bundles shared by the engine tests; nobody writes into them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.bundle.files import Bundle, load
from engines.testing import tiny_bundle


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A sealed frame bundle."""
    return load(tiny_bundle(tmp_path_factory.mktemp("tiny") / "frame"))


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A sealed clip bundle with the same arithmetic."""
    return load(tiny_bundle(tmp_path_factory.mktemp("tiny") / "clip", kind="clip"))


@pytest.fixture(scope="session")
def tiny_memory(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A sealed frame bundle whose items depend on the three frames before their own."""
    return load(tiny_bundle(tmp_path_factory.mktemp("tiny") / "memory", history=3))


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Bundle], Path]:
    """Copies a bundle to a place of its own, where a test may spoil it."""

    def make(bundle: Bundle) -> Path:
        return Path(shutil.copytree(bundle.path, tmp_path / "copy"))

    return make
