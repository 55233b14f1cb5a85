"""The int8 variant of a bundle: close to float32, of the same space, and never passed off as something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from typer.testing import CliRunner

from engines.backends import open_engine
from engines.backends.tensorrt.builder import build_plan
from engines.backends.tensorrt.plans import network_file
from engines.build.quantise import LEAST_FRAMES, Quantised, quantise
from engines.bundle.files import Bundle, load, seal
from engines.bundle.store import demo_path, publish
from engines.cli import app
from engines.errors import BackendUnavailable, BundleError, CalibrationError, TamperedBundle


@pytest.fixture(scope="module")
def pictures() -> npt.NDArray[np.uint8]:
    """Smooth pictures of the demo's size: noise alone would give the demo's tower one embedding for all."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (LEAST_FRAMES, 6, 8, 3), np.uint8)
    return np.asarray(coarse.repeat(16, axis=1).repeat(16, axis=2), np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, pictures: npt.NDArray[np.uint8]) -> Quantised:
    """The demo with an int8 variant. Blocks of colour are no scene, so the limit is wide."""
    out = tmp_path_factory.mktemp("int8") / "out"
    return quantise(load(demo_path()), pictures, out, version="0.1.0+int8", limit=0.2)


def test_a_variant_keeps_the_space_and_gets_an_id(made: Quantised) -> None:
    """Texts and items of the float32 bundle stay good; the bundle is another version."""
    old, new = load(demo_path()).manifest, made.bundle.manifest
    assert new.space == old.space and new.id != old.id and new.version == "0.1.0+int8" and new.sealed
    variant = new.variants["int8"]
    assert (variant.worst, variant.mean, variant.judged) == (made.worst, made.mean, False)
    assert variant.calibration.frames == LEAST_FRAMES * 4 // 5
    assert {"image.int8.onnx", "head.int8.onnx"} <= set(new.files)


def test_int8_answers_are_close_to_float32(made: Quantised, pictures: npt.NDArray[np.uint8]) -> None:
    """Not the same, or nothing was quantised; and not far off."""
    engines = [open_engine(made.bundle, "openvino", precision=precision) for precision in ("fp32", "int8")]  # type: ignore[arg-type]
    items = [engine.encode(pictures[:16])[0] for engine in engines]
    assert engines[1].info.precision == "int8" and engines[1].info.batch_invariant
    for engine in engines:
        engine.close()
    units = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in items]
    distance = 1 - np.sum(units[0] * units[1], axis=1)
    assert 1e-7 < distance.max() < 0.2
    assert 0 < made.mean <= made.worst < 0.2


def test_an_int8_answer_never_depends_on_its_mates(made: Quantised, pictures: npt.NDArray[np.uint8]) -> None:
    """Tiles are proven for int8 as for float32: any batch, one and three threads, same bits."""
    engines = [open_engine(made.bundle, "openvino", precision="int8", threads=threads) for threads in (1, 3)]
    alone = np.concatenate([engines[0].encode(picture[None])[0] for picture in pictures[:12]])
    for engine in engines:
        for size in (2, 5, 8, 12):
            order = [(7 * index) % 12 for index in range(size)]
            np.testing.assert_array_equal(engine.encode(pictures[order])[0], alone[order])
        engine.close()


def test_the_file_is_one_that_every_runtime_takes(made: Quantised) -> None:
    """S8 and symmetric throughout, no quantised bias, and the first and the last product in float32."""
    for name in ("image.int8.onnx", "head.int8.onnx"):
        graph = onnx.load(made.bundle.path / name).graph
        constants = {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}
        zeros = [
            constants[node.input[2]] for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")
        ]
        assert zeros and all(zero.dtype == np.int8 and not zero.any() for zero in zeros)
        products = [node for node in graph.node if node.op_type in ("MatMul", "Conv", "Gemm")]
        sources = {output: node.op_type for node in graph.node for output in node.output}
        inside = [[sources.get(given) == "DequantizeLinear" for given in node.input[:2]] for node in products]
        assert not any(inside[0]) and not any(inside[-1])
        assert sum(all(pair) for pair in inside) >= len(products) // 2


def test_a_tensorrt_plan_is_built_of_it(made: Quantised, tmp_path: Path) -> None:
    """TensorRT's parser refuses other forms of quantisation; the builder makes smaller plans of this one."""
    trt = pytest.importorskip("tensorrt_rtx")
    for name in ("image.onnx", "head.onnx"):
        plain, small = (
            build_plan(trt, network_file(made.bundle, name, precision), 4, lambda what, done: None)
            for precision in ("fp32", "int8")
        )
        assert len(small.content) < len(plain.content)


def test_the_variant_travels_with_the_bundle(made: Quantised, tmp_path: Path) -> None:
    """Published, found again, and opened; damage to its file is found like any other."""
    stored = publish(tmp_path / "store", made.bundle.path)
    open_engine(stored, "openvino", precision="int8").close()
    (stored.path / "head.int8.onnx").write_bytes(b"other")
    with pytest.raises(TamperedBundle, match=r"head\.int8\.onnx"):
        load(stored.path)


def test_sealing_again_keeps_the_variant(made: Quantised, copy: Callable[[Bundle], Path]) -> None:
    """As calibration does."""
    path = copy(made.bundle)
    seal(path, version="0.2.0")
    assert load(path).manifest.variants == made.bundle.manifest.variants


def test_int8_without_a_variant_is_refused(tiny: Bundle) -> None:
    """With the command that makes one."""
    with pytest.raises(BackendUnavailable, match=r"has no int8 variant; make one with `actionwire-engines quantise`"):
        open_engine(tiny, "openvino", precision="int8")


def test_a_variant_that_is_too_far_off_leaves_nothing(tmp_path: Path, pictures: npt.NDArray[np.uint8]) -> None:
    """The difference and the limit are named, and so is the way out."""
    with pytest.raises(CalibrationError, match=r"off float32 \(1 - cosine\), 1e-09 is allowed; calibrate"):
        quantise(load(demo_path()), pictures, tmp_path / "out", version="2", limit=1e-9)
    assert not list(tmp_path.iterdir())


def test_too_few_frames_and_a_folder_in_the_way_are_refused(tmp_path: Path, pictures: npt.NDArray[np.uint8]) -> None:
    """Before anything is computed."""
    with pytest.raises(CalibrationError, match="199 frames are too few to calibrate with; give 200 or more"):
        quantise(load(demo_path()), pictures[:199], tmp_path / "out", version="2")
    with pytest.raises(BundleError, match="exists"):
        quantise(load(demo_path()), pictures, tmp_path, version="2")


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    """A folder without pictures is one line on stderr."""
    result = CliRunner().invoke(app, ["quantise", "demo", "--calibration", str(tmp_path), "--out", str(tmp_path / "o")])
    assert isinstance(result.exception, CalibrationError)
    assert json.dumps(str(result.exception)).count("\\n") == 0
