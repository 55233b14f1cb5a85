"""Windows times texts: cosines of any number of windows with a list of texts, as a product whose form never changes.

A kernel chooses its order of summation by the shape of what it multiplies. So eight rows are multiplied at a time,
zeros where fewer windows are left, with texts in blocks of a fixed width, zeros where fewer are left:

    3 windows, 5 000 texts    [3 and 5 zeros] x [4096] [512] [392 and 120 zeros]

A cosine then depends neither on the other windows, nor on the other texts, nor on its place among them: the same bits
for ten labels and for ten thousand, live and in a replay. That is proven on every host before it is used, as for the
tiles of a network (`engines.backends.tiles`), and the outcome remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import openvino
from openvino import opset13

from engines.backends.host_cache import recall, remember

ROWS = 8
WIDTHS = (4096, 512)
"""Texts of a block, the wide ones first. Few texts shall not pay for many."""

Floats: TypeAlias = npt.NDArray[np.float32]
Product: TypeAlias = Callable[[Floats], Floats]
"""Windows [n, D] to cosines [n, t]. Used by one thread at a time."""

_SETTINGS = {
    "INFERENCE_PRECISION_HINT": "f32",  # elsewhere than on x86 the default is half of that
    "NUM_STREAMS": "1",
    "INFERENCE_NUM_THREADS": "1",
    "ENABLE_CPU_PINNING": "NO",
}


def proven_product(dimensions: int) -> Callable[[Floats], Product] | None:
    """Return what makes a product with texts [t, D]; None where a cosine has other bits in other company here."""
    key = (openvino.__version__, str(dimensions), str(ROWS), *map(str, WIDTHS))
    known = recall("similarity", key)
    if not isinstance(known, dict) or not isinstance(known.get("holds"), bool):
        known = {"holds": company_does_not_count(product, dimensions)}
        remember("similarity", key, known)
    return product if known["holds"] else None


def product(texts: Floats) -> Product:
    """Return the product with texts float32 [t, D], t >= 1; they are copied."""
    given: Any = opset13.parameter([ROWS, texts.shape[1]], np.float32)
    outputs, ends = [], []
    for start, width in blocks(len(texts)):
        block = np.zeros((width, texts.shape[1]), np.float32)
        part = texts[start : start + width]
        block[: len(part)] = part
        outputs.append(opset13.matmul(given, opset13.constant(block), False, True))
        ends.append((start, len(part)))
    compiled = openvino.Core().compile_model(openvino.Model(outputs, [given], "similarity"), "CPU", _SETTINGS)
    request = compiled.create_infer_request()
    rows, count_of_texts = request.get_input_tensor(0).data, len(texts)

    def multiply(windows: Floats) -> Floats:
        found = np.empty((len(windows), count_of_texts), np.float32)
        for first in range(0, len(windows), ROWS):
            some = windows[first : first + ROWS]
            rows[: len(some)] = some
            rows[len(some) :] = 0
            request.infer()
            for number, (start, count) in enumerate(ends):
                answer = request.get_output_tensor(number).data
                found[first : first + len(some), start : start + count] = answer[: len(some), :count]
        return found

    return multiply


def blocks(count: int) -> list[tuple[int, int]]:
    """Return the blocks that `count` texts are cut into: the first text and the width of each."""
    wide, narrow = WIDTHS
    cut = [(start, wide) for start in range(0, count - wide + 1, wide)]
    return cut + [(start, narrow) for start in range(len(cut) * wide, count, narrow)]


def company_does_not_count(make: Callable[[Floats], Product], dimensions: int) -> bool:
    """Return whether a cosine has the same bits whatever windows and texts are beside it.

    Tried in few blocks and in many, in wide and in narrow ones, and at every row.
    """
    random = np.random.default_rng(0)
    texts = _directions(random, sum(WIDTHS) + WIDTHS[1] // 2, dimensions)
    windows = _directions(random, 2 * ROWS + 3, dimensions)
    whole = make(texts)(windows)
    order = random.permutation(len(texts))
    few = order[: WIDTHS[1] + 37]
    rows = random.permutation(len(windows))
    moved, some = make(texts[order])(windows[rows]), make(texts[few])
    return (
        _same(moved, whole[np.ix_(rows, order)])
        and all(_same(some(windows[row : row + 1]), whole[row : row + 1, few]) for row in range(ROWS))
        and all(_same(some(windows[first:]), whole[first:, few]) for first in range(1, ROWS))
    )


def _directions(random: np.random.Generator, count: int, dimensions: int) -> Floats:
    found = random.normal(size=(count, dimensions))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def _same(one: Floats, other: Floats) -> bool:
    return np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()
