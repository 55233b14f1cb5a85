"""Smaller types in an ONNX file: rounded as the standard says, and the network still gives nearly the same."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engines.backends.tensorrt import typed
from engines.backends.tensorrt.typed import with_precision
from engines.bundle.files import Bundle, load
from engines.bundle.store import demo_path


@given(arrays.arrays(np.float32, 16, elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_bf16_is_rounded_to_the_nearest(values: np.ndarray) -> None:
    """No value is further off than half of the last kept bit: 2^-8 of it."""
    stored = typed._stored(values, "weights", onnx.TensorProto.BFLOAT16, onnx)
    back = (np.frombuffer(stored.raw_data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    assert np.all(np.abs(back - values) <= np.abs(values) * 2.0**-8 + 1e-38)


def test_ties_go_to_the_even_neighbour() -> None:
    """1 + 2^-8 lies in the middle between two bf16 numbers, and so does 1 + 3 * 2^-8."""
    values = np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8], np.float32)
    stored = typed._stored(values, "weights", onnx.TensorProto.BFLOAT16, onnx)
    back = (np.frombuffer(stored.raw_data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(back, [1, 1 + 2.0**-6])


def test_a_network_in_fp16_answers_nearly_the_same() -> None:
    """The demo's image network, in ONNX Runtime: within what fp16 loses."""
    bundle = load(demo_path())
    images = bundle.golden().images[:4]
    answers = []
    for content in (bundle.read("image.onnx"), with_precision(bundle.read("image.onnx"), "fp16")):
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        answers.append(session.run(["embeddings"], {"images": images})[0])
    units = [answer / np.linalg.norm(answer, axis=1, keepdims=True) for answer in answers]
    assert not np.array_equal(*units)
    np.testing.assert_allclose(units[0], units[1], atol=5e-3)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_other_precisions_are_what_they_are(tiny: Bundle, precision: typed.Precision) -> None:
    """Their files say it themselves."""
    content = tiny.read("image.onnx")
    assert with_precision(content, precision) is content
