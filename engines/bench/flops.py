"""Arithmetic operations of a network, counted in its graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from engines.bundle.files import Bundle


def count_flops(bundle: Bundle, name: str) -> int:
    """Return the operations of one row in the matrix products and convolutions of a network, 2 per multiply-accumulate.

    Raises BundleError for a network that OpenVINO does not read.
    """
    import openvino

    from engines.backends.ov import read_model

    model = read_model(openvino.Core(), bundle, name)
    return sum(_operator_flops(operator) for operator in model.get_ops())


def _operator_flops(operator: Any) -> int:
    kind = operator.get_type_name()
    if kind == "MatMul":
        shape = [int(size) for size in operator.input(0).get_shape()]
        terms = shape[-2] if operator.get_attributes()["transpose_a"] else shape[-1]
    elif kind == "Convolution":
        terms = int(np.prod([int(size) for size in operator.input(1).get_shape()][1:]))
    elif kind == "GroupConvolution":
        terms = int(np.prod([int(size) for size in operator.input(1).get_shape()][2:]))
    else:
        return 0
    return 2 * terms * int(np.prod([int(size) for size in operator.output(0).get_shape()]))
