"""A network whose products run in bf16 or fp16, as types in its ONNX file: TensorRT 11 knows no other way.

Products and convolutions take their operands in the smaller type and give float32 back; everything between them, sums
of squares and softmax above all, stays float32. Casts that meet are fused by TensorRT.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engines.backends.network import Precision
from engines.errors import BackendUnavailable

PRODUCTS = ("MatMul", "Gemm", "Conv")


def with_precision(onnx_file: bytes, precision: Precision) -> bytes:
    """Return the network with its products in `precision`; fp32 and int8 files are what they are.

    Weights of the products are stored in that type. Raises BackendUnavailable without the package `onnx`.
    """
    if precision not in ("bf16", "fp16"):
        return onnx_file
    try:
        import onnx
        from onnx import TensorProto, numpy_helper
    except ImportError as error:
        raise BackendUnavailable(
            f"{precision} for TensorRT needs the package onnx ({error}); pip install 'actionwire[tensorrt]'"
        ) from error
    kind = TensorProto.BFLOAT16 if precision == "bf16" else TensorProto.FLOAT16
    model = onnx.load_from_string(onnx_file)
    graph = model.graph
    constants = {one.name: one for one in graph.initializer}
    floats = {name for name, one in constants.items() if one.data_type == TensorProto.FLOAT}
    cast: dict[str, str] = {}
    nodes: list[Any] = []

    def small(name: str) -> str:
        """Return the name of the same values in the smaller type."""
        if name not in cast:
            cast[name] = f"{name}.{precision}"
            if name in floats:
                values = numpy_helper.to_array(constants[name])
                graph.initializer.append(_stored(values, cast[name], kind, onnx))
            else:
                nodes.append(onnx.helper.make_node("Cast", [name], [cast[name]], f"{cast[name]}.cast", to=kind))
        return cast[name]

    for node in list(graph.node):
        if node.op_type in PRODUCTS:
            given, made = list(node.input), node.output[0]
            node.input[:] = [small(name) if name else name for name in given]
            node.output[0] = f"{made}.{precision}"
            nodes.append(node)
            nodes.append(onnx.helper.make_node("Cast", [node.output[0]], [made], f"{made}.cast", to=TensorProto.FLOAT))
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    _forget_unused(graph)
    return bytes(model.SerializeToString())


def _stored(values: Any, name: str, kind: int, onnx: Any) -> Any:
    """Return a constant in the smaller type."""
    if kind == onnx.TensorProto.FLOAT16:
        return onnx.numpy_helper.from_array(values.astype(np.float16), name)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    # Round to nearest, ties to even: half of what is cut off is added, and the last kept bit.
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return onnx.helper.make_tensor(name, kind, values.shape, rounded.tobytes(), raw=True)


def _forget_unused(graph: Any) -> None:
    """Remove constants that nothing reads any more."""
    read = {name for node in graph.node for name in node.input}
    kept = [one for one in graph.initializer if one.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
