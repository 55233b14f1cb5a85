"""What is built in these tests: bytes, under inputs that look like those of a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.build_cache.build_lock import Told
from engines.build_cache.entries import BuildInputs

INPUTS = BuildInputs(
    network="image.onnx",
    sha256="ab" * 32,
    runtime="tensorrt 11.4.0.106",
    device="NVIDIA H200, 9.0, driver 13.0",
    settings={"bucket": 16, "tf32": False},
    builder=1,
)


class Maker:
    """Builds the same bytes each time, and counts."""

    def __init__(self, plan: bytes = b"a plan") -> None:
        self.plan = plan
        self.calls = 0

    def __call__(self, told: Told) -> bytes:
        """Build."""
        self.calls += 1
        told("building", 0.5)
        return self.plan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache of its own, not there yet."""
    return tmp_path / "cache" / "engines"


@pytest.fixture
def inputs() -> BuildInputs:
    """What decides the plan."""
    return INPUTS


@pytest.fixture
def maker() -> Maker:
    """Something to call once."""
    return Maker()
