"""The machine's own peak: matrix products in the runtime that serves, on as many threads as it serves with.

An engine can hardly be faster than the best of them, so its share of that rate is the part of the machine that it uses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
from openvino import opset13

from engines.backends.network import Precision
from engines.bench.rounds import Call

SHAPES = ((400, 768, 3072), (400, 3072, 768), (1024, 1024, 1024))
"""M, K, N: the wide layers of a ViT-B over eight pictures, and a square."""

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


def products(precision: Precision, threads: int) -> dict[str, Call]:
    """Return one product per shape, named by it; the work of a call is in operations, 2 per multiply-accumulate.

    One product runs on each of `threads` streams at the same time, as the tiles of an engine do. Empty where the CPU
    does not compute in `precision`.
    """
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "NUM_STREAMS": str(threads),
        "INFERENCE_NUM_THREADS": str(threads),
        "ENABLE_CPU_PINNING": "NO",
    }
    calls = {}
    for rows, inner, columns in SHAPES:
        compiled = core.compile_model(_product(rows, inner, columns, precision), "CPU", settings)
        if compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() != _HINTS[precision]:
            return {}
        requests = [compiled.create_infer_request() for _ in range(threads)]
        name = f"{precision} {rows}x{inner}x{columns}"
        calls[name] = Call(lambda requests=requests: _run(requests), 2.0 * rows * inner * columns * threads)  # type: ignore[misc]
    return calls


def _product(rows: int, inner: int, columns: int, precision: Precision) -> Any:
    random = np.random.default_rng(0)
    left: Any = opset13.parameter([rows, inner], np.float32)
    given = left
    right: Any = opset13.constant(random.normal(size=(inner, columns)).astype(np.float32))
    if precision == "int8":
        left, right = (_quantised(part, levels=256, limit=4.0) for part in (left, right))
    return openvino.Model([opset13.matmul(left, right, False, False)], [given], "product")


def _quantised(value: Any, *, levels: int, limit: float) -> Any:
    """Return the value as the runtime's integer kernels take it: symmetric, signed, one scale."""
    low, high = (opset13.constant(np.float32(bound)) for bound in (-limit, limit * 127 / 128))
    return opset13.fake_quantize(value, low, high, low, high, levels)


def _run(requests: list[Any]) -> None:
    for request in requests:
        request.start_async()
    for request in requests:
        request.wait()
