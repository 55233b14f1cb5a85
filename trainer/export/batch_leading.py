"""Networks whose batch stays the leading axis of every product.

A runtime may promise that equal rows of a batch get equal answers only across the leading axes of a product, those
before its last two (TensorRT's DISTRIBUTIVE_INDEPENDENCE). torch's own attention puts time first and folds the batch
into the rows of a two-dimensional product; a projection of pooled features has one row per element of the batch. Both
are written in another way here; the arithmetic is the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir
import torch
import torch.nn.functional as F
from torch import Tensor, nn


@contextlib.contextmanager
def batch_leading_attention() -> Iterator[None]:
    """While it is open, `nn.MultiheadAttention` computes [n, L, D] without moving n. For export only."""
    original = nn.MultiheadAttention.forward

    def forward(
        self: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **given: Any
    ) -> Any:
        mask = given.get("attn_mask")
        understood = (
            self.batch_first
            and not rest
            and self.in_proj_weight is not None
            and query.dim() == 3
            and self.bias_k is None
            and not self.add_zero_attn
            and given.get("key_padding_mask") is None
            and not given.get("need_weights", True)
            and (mask is None or mask.dim() == 2)
        )
        if not understood:
            return original(self, query, key, value, *rest, **given)
        return _attend(self, query, key, value, mask), None

    nn.MultiheadAttention.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.MultiheadAttention.forward = original  # type: ignore[method-assign]


def _attend(attention: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Multi-head attention, [n, L, D] and [n, S, D] to [n, L, D]."""
    width, heads = attention.embed_dim, attention.num_heads
    weights = torch.split(attention.in_proj_weight, width)
    biases = (None, None, None) if attention.in_proj_bias is None else torch.split(attention.in_proj_bias, width)
    if query is key and key is value:
        parts = torch.split(F.linear(query, attention.in_proj_weight, attention.in_proj_bias), width, dim=-1)
    else:
        given = (query, key, value)
        parts = tuple(F.linear(part, weight, bias) for part, weight, bias in zip(given, weights, biases, strict=True))
    queries, keys, values = (part.reshape(*part.shape[:2], heads, width // heads).transpose(1, 2) for part in parts)
    mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    return F.linear(mixed.transpose(1, 2).flatten(2), attention.out_proj.weight, attention.out_proj.bias)


def lead_products(model: onnx_ir.Model) -> int:
    """Give each product of a row per element of the batch, [n, F] x [F, D], an axis: [n, 1, F] x [F, D].

    Changes the model in place, and returns how many products were changed.
    """
    changed = 0
    for node in list(model.graph):
        if node.op_type not in ("MatMul", "Gemm") or not _rows_of_the_batch(node):
            continue
        _lead(model.graph, node, changed)
        changed += 1
    return changed


def _rows_of_the_batch(node: onnx_ir.Node) -> bool:
    rows, weight = node.inputs[0], node.inputs[1]
    if rows is None or weight is None or weight.const_value is None or rows.shape is None or len(rows.shape) != 2:
        return False
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    plain = (attributes.get("transA", 0), attributes.get("alpha", 1.0), attributes.get("beta", 1.0)) == (0, 1.0, 1.0)
    return plain and not isinstance(rows.shape[0], int)


def _lead(graph: onnx_ir.Graph, node: onnx_ir.Node, index: int) -> None:
    rows, weight, *bias = given = tuple(node.inputs)
    answer = node.outputs[0]
    axis = _constant(graph, f"product_axis_{index}", np.array([1], np.int64))
    if node.attributes.get("transB") and node.attributes["transB"].value:
        assert weight is not None and weight.const_value is not None
        turned = np.ascontiguousarray(weight.const_value.numpy().T)
        weight = _constant(graph, f"product_weight_{index}", turned)
    led = onnx_ir.Node("", "Unsqueeze", [rows, axis])
    product = onnx_ir.Node("", "MatMul", [led.outputs[0], weight])
    nodes = [led, product]
    if bias:
        nodes.append(onnx_ir.Node("", "Add", [product.outputs[0], bias[0]]))
    nodes.append(onnx_ir.Node("", "Squeeze", [nodes[-1].outputs[0], axis]))
    graph.insert_before(node, nodes)
    last = nodes[-1].outputs[0]
    last.type, last.shape = answer.type, answer.shape
    name = answer.name
    onnx_ir.convenience.replace_all_uses_with(answer, last, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    last.name = name
    for value in given:
        if value is not None and value.is_initializer() and not value.uses() and value.name:
            graph.initializers.pop(value.name, None)


def _constant(graph: onnx_ir.Graph, name: str, array: npt.NDArray[Any]) -> onnx_ir.Value:
    value = onnx_ir.Value(name=name, const_value=onnx_ir.tensor(array, name=name))
    value.type, value.shape = onnx_ir.TensorType(value.const_value.dtype), value.const_value.shape  # type: ignore[union-attr, assignment]
    graph.register_initializer(value)
    return value
