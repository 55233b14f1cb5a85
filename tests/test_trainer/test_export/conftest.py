"""TensorRT's parser and builder, which need no GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Build = Callable[[Path], int]


@pytest.fixture(scope="session")
def build_plan() -> Build:
    """Builds an ONNX file for batches of 8, and returns the size of the plan in bytes.

    With DISTRIBUTIVE_INDEPENDENCE, which allows one profile only: equal operations for every row of a batch.
    TensorRT for RTX has the parser and builder of TensorRT, and runs where there is no driver.
    """
    trt = pytest.importorskip("tensorrt_rtx")

    class Quiet(trt.ILogger):  # type: ignore[misc, name-defined]
        def log(self, severity: object, message: str) -> None:
            pass

    def build(path: Path) -> int:
        builder = trt.Builder(Quiet())
        network = builder.create_network()
        parser = trt.OnnxParser(network, Quiet())
        parsed = parser.parse(path.read_bytes())
        faults = [parser.get_error(index) for index in range(parser.num_errors)]
        assert parsed, [f"{fault.node_name()}: {fault.desc()}" for fault in faults]
        config = builder.create_builder_config()
        config.set_flag(trt.BuilderFlag.DISTRIBUTIVE_INDEPENDENCE)
        source = network.get_input(0)
        profile = builder.create_optimization_profile()
        shape = (8, *tuple(source.shape)[1:])
        profile.set_shape(source.name, shape, shape, shape)
        config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        assert plan is not None, f"{path.name} does not build"
        return int(plan.nbytes)

    return build
