"""TensorRT's parser and builder, which need no GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engines.backends.network import Precision
from engines.backends.tensorrt.builder import build_plan as build
from engines.backends.tensorrt.typed import with_precision

Build = Callable[..., int]


@pytest.fixture(scope="session")
def build_plan() -> Build:
    """Builds an ONNX file for batches of 8 as the backend does, and returns the size of the plan in bytes.

    TensorRT for RTX has the parser and builder of TensorRT, and runs where there is no driver.
    """
    trt = pytest.importorskip("tensorrt_rtx")

    def made(path: Path, precision: Precision = "fp32") -> int:
        content = with_precision(path.read_bytes(), precision)
        return len(build(trt, content, 8, lambda what, done: None).content)

    return made
