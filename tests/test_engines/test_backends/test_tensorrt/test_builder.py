"""The real parser and builder, without a GPU: what we export becomes a plan, and what does not is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.backends.network import Precision
from engines.backends.tensorrt.builder import PlanSettings, build_plan
from engines.backends.tensorrt.library import Library
from engines.backends.tensorrt.plans import network_file, plan, plan_inputs
from engines.bundle.files import Bundle, load
from engines.bundle.store import demo_path
from engines.errors import BuildFailed


def silent(what: str, done: float) -> None:
    """Tell nobody."""


def network(*nodes: Any, **weights: Any) -> bytes:
    """A small ONNX file, windows [n, 4] -> head [n, 4]."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("windows", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("head", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("rows", [1, 16])
@pytest.mark.parametrize("name", ["image.onnx", "head.onnx", "text.onnx"])
def test_the_demo_bundle_builds(rtx: Library, name: str, rows: int) -> None:
    """Every network of it, with independence of batch mates, and the phases are told."""
    heard: list[tuple[str, float]] = []
    made = build_plan(rtx.module, load(demo_path()).read(name), rows, lambda what, done: heard.append((what, done)))
    assert len(made.content) > 100_000
    parts = [done for _, done in heard[1:]]
    assert heard[0] == ("parsing", 0.0) and heard[-1] == ("done", 1.0) and parts == sorted(parts) and len(parts) > 3


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("name", ["image.onnx", "head.onnx"])
def test_typed_networks_build(rtx: Library, name: str, precision: Precision) -> None:
    """Products in the smaller type; their weights take half the room."""
    bundle = load(demo_path())
    typed = network_file(bundle, name, precision)
    assert len(typed) < 0.7 * len(bundle.read(name))
    assert len(build_plan(rtx.module, typed, 4, silent).content) > 100_000


def test_the_flags_are_those_we_ask_for(rtx: Library) -> None:
    """Several profiles and independence exclude each other, which is why a plan has one; TF32 can be had on demand."""
    content = load(demo_path()).read("head.onnx")
    for settings in (PlanSettings(independent=False), PlanSettings(tf32=True), PlanSettings(workspace_bytes=1 << 28)):
        assert build_plan(rtx.module, content, 2, silent, settings=settings).content


def test_an_operator_that_nobody_knows_is_named(rtx: Library) -> None:
    """Node, operator and what the parser says."""
    broken = network(helper.make_node("Frobnicate", ["windows"], ["head"], "the/odd/one"))
    with pytest.raises(BuildFailed, match=r"node the/odd/one \(Frobnicate\): .*"):
        build_plan(rtx.module, broken, 1, silent)


def test_shapes_that_do_not_fit_are_named(rtx: Library) -> None:
    """A product whose sides disagree stops the parser at its node."""
    broken = network(
        helper.make_node("MatMul", ["windows", "weights"], ["head"], "the/product"),
        weights=np.zeros((5, 4), np.float32),
    )
    with pytest.raises(BuildFailed, match=r"the/product"):
        build_plan(rtx.module, broken, 1, silent)


@pytest.mark.parametrize("content", [b"garbage", b"", b"\x08\x08"])
def test_what_is_no_network_is_said_to_be_none(rtx: Library, content: bytes) -> None:
    """In the library's words, on one line."""
    with pytest.raises(BuildFailed) as refused:
        build_plan(rtx.module, content, 1, silent)
    assert "\n" not in str(refused.value) and rtx.version in str(refused.value)


def test_a_plan_is_built_once(rtx: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call takes it from the cache; another batch size is another plan; an error names the network."""
    bundle, settings, built = load(demo_path()), PlanSettings(), []
    content = bundle.read("head.onnx")

    def told(what: str, done: float) -> None:
        built.append(what)

    plans = []
    for rows in (1, 1, 2):
        inputs = plan_inputs("head.onnx", content, rows, rtx, None, settings)
        plans.append(plan(rtx, inputs, content, settings, told))
    assert built[0] == "head.onnx, batches of 1: parsing"
    assert plans[0] == plans[1] != plans[2] and sum("parsing" in one for one in built) == 2
    inputs = plan_inputs("head.onnx", b"garbage", 1, rtx, None, settings)
    with pytest.raises(BuildFailed, match=r"head\.onnx: the parser of tensorrt_rtx .* export the bundle again"):
        plan(rtx, inputs, b"garbage", settings, told)


def test_a_plan_is_of_its_device_and_version(tiny: Bundle, rtx: Library) -> None:
    """And of nothing that does not decide it."""
    content = tiny.read("head.onnx")
    one = plan_inputs("head.onnx", content, 4, rtx, None, PlanSettings())
    assert one.key == plan_inputs("head.onnx", content, 4, rtx, None, PlanSettings()).key
    later = Library(rtx.name, "99", rtx.module)
    assert one.key != plan_inputs("head.onnx", content, 4, later, None, PlanSettings()).key
    assert one.key != plan_inputs("head.onnx", content, 4, rtx, None, PlanSettings(tf32=True)).key


def test_a_plan_that_the_runtime_refuses_is_no_crash(rtx: Library) -> None:
    """Without a driver it refuses every plan, and garbage too: None, and a reason in the log that we keep."""
    from engines.backends.tensorrt.builder import collecting_log

    log = collecting_log(rtx.module)
    runtime = rtx.module.Runtime(log)
    assert runtime.deserialize_cuda_engine(b"garbage") is None
    assert "Error Code" in log.last()


def test_a_network_is_what_it_was_beside_its_products(tiny: Bundle) -> None:
    """The form of a typed network: same inputs and outputs in float32, and every product between two casts."""
    graph = onnx.load_from_string(network_file(tiny, "image.onnx", "bf16")).graph
    kinds = {one.name: one.data_type for one in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    assert products and all(name.endswith(".bf16") for node in products for name in node.input)
    assert {kinds[name] for node in products for name in node.input if name in kinds} == {TensorProto.BFLOAT16}
    assert [one.name for one in graph.output] == ["embeddings"]
    assert graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
