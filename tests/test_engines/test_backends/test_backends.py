"""The engine contract, for every backend on every kind of bundle."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from fake_tensorrt import FakeCuda, fake_tensorrt
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from engines.backends import BACKENDS, open_engine
from engines.backends.tensorrt.library import Library
from engines.bundle.arrays import write_golden
from engines.bundle.files import Bundle, load, write_draft
from engines.bundle.manifest import parse
from engines.contract import Engine
from engines.errors import BackendUnavailable, BundleError, ProbeFailed
from engines.testing import solid, tiny_bundle

SIZE, WIDTH, FRAMES = 32, 192, 8


@pytest.fixture(scope="module", params=list(BACKENDS))
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Each backend in turn; TensorRT on a FAKE device, so that what is ours in it keeps the contract too."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "tensorrt":
            patch.setenv("ACTIONWIRE_CACHE", str(tmp_path_factory.mktemp("plans")))
            cuda = FakeCuda()
            library = Library("fake", "0", fake_tensorrt(cuda))
            patch.setattr("engines.backends.tensorrt.load_library", lambda: library)
            patch.setattr("engines.backends.tensorrt.open_cuda", lambda index: cuda)
        yield str(request.param)
        if request.param == "tensorrt":
            assert cuda.alive == []


@pytest.fixture(scope="module", params=["frame", "clip"])
def engine(request: pytest.FixtureRequest, backend: str, tiny: Bundle, tiny_clip: Bundle) -> Iterator[Engine]:
    """Each backend on a bundle of each kind."""
    opened = open_engine(tiny if request.param == "frame" else tiny_clip, backend)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with convolutions, attention and wide products, in which runtimes do choose kernels by shape."""
    path = tiny_bundle(tmp_path_factory.mktemp("deep") / "deep", dimensions=WIDTH, sealed=False)
    (path / "image.onnx").write_bytes(_convolutions())
    (path / "head.onnx").write_bytes(_attention())
    write_draft(path, parse((path / "bundle.json").read_bytes(), "bundle.json")[0])
    return load(path, allow_draft=True)


@pytest.fixture(scope="module")
def deep_engine(backend: str, deep: Bundle) -> Iterator[Engine]:
    """Each backend on the deep bundle, three threads so that shares are uneven; it has no golden answers to pass."""
    opened = importlib.import_module(BACKENDS[backend]).open(deep, threads=3)
    yield opened
    opened.close()


def images(count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Random pictures."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def test_the_info_tells_what_runs(engine: Engine, backend: str, tiny: Bundle, tiny_clip: Bundle) -> None:
    """The info carries the bundle's id and space, and how it is run."""
    info = engine.info
    manifest = (tiny if info.kind == "frame" else tiny_clip).manifest
    assert (info.bundle, info.space, info.dimensions, info.frames) == (manifest.id, manifest.space.id, 16, 8)
    device = "cuda:0 Fake GPU (fake, fake)" if backend == "tensorrt" else "CPU"
    assert (info.backend, info.device, info.precision) == (backend, device, "fp32")
    assert info.batch_invariant and info.history == 0


def test_answers_are_normalised_float32(engine: Engine) -> None:
    """Pixels go in as uint8; embeddings come out as float32 of length 1, head and mean."""
    items, memory = engine.encode(images(FRAMES))
    assert memory is None
    head, pooled = engine.embed(items[None])
    for answer in (head, pooled):
        assert answer.dtype == np.float32 and answer.shape == (1, 16)
        np.testing.assert_allclose(np.linalg.norm(answer, axis=1), 1, atol=1e-6)


def test_answers_belong_to_the_caller(engine: Engine) -> None:
    """A later call does not change what an earlier one returned, as it would if buffers were handed out."""
    first = engine.encode(images(3))[0]
    before = first.copy()
    engine.encode(images(3, seed=1))
    np.testing.assert_array_equal(first, before)


def test_time_runs_from_the_oldest_item(engine: Engine) -> None:
    """The tiny head weighs later items more: red at the end of a window outweighs red at its beginning."""
    red, blue = solid("red")[None].repeat(4, axis=0), solid("blue")[None].repeat(4, axis=0)
    windows = np.stack([engine.encode(np.concatenate(halves))[0] for halves in ((blue, red), (red, blue), (red, red))])
    head, pooled = engine.embed(windows)
    assert head[0] @ head[2] > head[1] @ head[2] + 0.1
    np.testing.assert_allclose(pooled[0], pooled[1], atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_an_answer_never_depends_on_its_mates(engine: Engine, data: st.DataObject) -> None:
    """Any batch, in any order, at any place, gives bit for bit what each picture and window gives alone."""
    _check_invariance(engine, data.draw(st.lists(st.integers(0, 19), min_size=1, max_size=20)))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 16, 17])
def test_deep_networks_do_not_depend_on_their_mates(deep_engine: Engine, size: int) -> None:
    """The same for networks of the usual layers, at batch 1, 4, 16 and odd sizes."""
    _check_invariance(deep_engine, list(range(size)))
    _check_invariance(deep_engine, list(range(19, 19 - size, -1)))


def _check_invariance(engine: Engine, order: list[int]) -> None:
    pictures = images(20 + FRAMES)
    alone = np.concatenate([engine.encode(picture[None])[0] for picture in pictures])
    np.testing.assert_array_equal(engine.encode(pictures[order])[0], alone[order])
    windows = np.stack([alone[start : start + FRAMES] for start in range(20)])
    one_by_one = [engine.embed(windows[[index]]) for index in order]
    for answer, single in zip(engine.embed(windows[order]), zip(*one_by_one, strict=True), strict=True):
        np.testing.assert_array_equal(answer, np.concatenate(single))


def test_threads_do_not_change_an_answer(backend: str, deep: Bundle) -> None:
    """A host with more cores gives the same bits."""
    module, answers = importlib.import_module(BACKENDS[backend]), []
    for threads in (1, 2, 5):
        opened = module.open(deep, threads=threads)
        items = opened.encode(images(FRAMES))[0]
        answers.append((items, *opened.embed(items[None])))
        opened.close()
    for other in answers[1:]:
        for first, second in zip(answers[0], other, strict=True):
            np.testing.assert_array_equal(first, second)


def test_an_answer_does_not_depend_on_where_its_input_lies(deep_engine: Engine) -> None:
    """Windows at odd addresses, and views with gaps, give the same bits as tidy arrays."""
    windows = np.random.default_rng(0).normal(size=(3, FRAMES, WIDTH)).astype(np.float32)
    raw = np.empty(windows.nbytes + 4, np.uint8)
    shifted = raw[4:].view(np.float32).reshape(windows.shape)
    shifted[:] = windows
    gaps = np.repeat(windows, 2, axis=0)[::2]
    expected = deep_engine.embed(windows)
    for other in (shifted, gaps):
        for first, second in zip(expected, deep_engine.embed(other), strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, SIZE, SIZE, 3), np.float32),
        np.zeros((SIZE, SIZE, 3), np.uint8),
        np.zeros((1, 3, SIZE, SIZE), np.uint8),
        np.zeros((1, SIZE, SIZE + 1, 3), np.uint8),
        np.zeros((0, SIZE, SIZE, 3), np.uint8),
    ],
)
def test_wrong_pictures_are_refused(engine: Engine, wrong: npt.NDArray[Any]) -> None:
    """Another dtype, rank, order or size, or no picture at all, is a programmer's error."""
    with pytest.raises(ValueError, match=r"images must be uint8 \[n >= 1, 32, 32, 3\]"):
        engine.encode(wrong)


def test_wrong_windows_are_refused(engine: Engine) -> None:
    """A window of another length, dtype or rank, or none, is a programmer's error."""
    items = engine.encode(images(FRAMES))[0]
    for wrong in (items, items[None, 1:], items[None].astype(np.float64), items[None][:0]):
        with pytest.raises(ValueError, match="windows must be"):
            engine.embed(wrong)


def test_memory_is_refused_where_there_is_none(engine: Engine) -> None:
    """Buffers of another model do not pass silently."""
    with pytest.raises(ValueError, match="has no memory"):
        engine.encode(images(1), (np.zeros((1, 4), np.float32),))


def test_the_backends_agree(backend: str, tiny: Bundle, tiny_clip: Bundle) -> None:
    """Every backend gives the same embeddings within the manifest's tolerance, and so does a clip bundle."""
    answers = []
    for bundle in (tiny, tiny_clip):
        for name in ("openvino", backend):
            opened = open_engine(bundle, name)
            answers.append(opened.embed(opened.encode(images(FRAMES))[0][None])[0])
            opened.close()
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], atol=tiny.manifest.tolerance.embed)


def test_auto_takes_the_first_backend_there_is(tiny: Bundle) -> None:
    """OpenVINO comes before ONNX Runtime."""
    opened = open_engine(tiny)
    assert opened.info.backend == next(iter(BACKENDS)) == "openvino"
    opened.close()


def test_auto_goes_on_where_a_runtime_is_missing(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenVINO the bundle runs on ONNX Runtime; asked for by name, it is an error with a remedy."""
    monkeypatch.setattr("engines.backends.BACKENDS", dict(BACKENDS) | {"openvino": "engines.backends.not_installed"})
    opened = open_engine(tiny)
    assert opened.info.backend == "onnxruntime"
    opened.close()
    with pytest.raises(BackendUnavailable, match="pip install openvino"):
        open_engine(tiny, "openvino")


def test_an_unknown_backend_is_named() -> None:
    """A misspelt backend gets the list of those there are."""
    with pytest.raises(BackendUnavailable, match="no backend is called tensorflow; choose auto, openvino, onnxruntime"):
        open_engine(None, "tensorflow")  # type: ignore[arg-type]


def test_an_unknown_device_is_named(backend: str, tiny: Bundle) -> None:
    """A device that the runtime lacks is an error that says which it has."""
    with pytest.raises(BackendUnavailable, match=r"NPU9.*(CPU|GPU)"):
        open_engine(tiny, backend, "NPU9")


def test_a_package_without_cuda_says_which_has_it(tiny: Bundle) -> None:
    """The CPU's package of ONNX Runtime knows no GPU, and never runs on the CPU what was asked for elsewhere."""
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this package has the provider")
    with pytest.raises(
        BackendUnavailable, match="no CUDA provider for cuda:0; pip install onnxruntime-gpu in place of"
    ):
        open_engine(tiny, "onnxruntime", "cuda:0")


def test_a_precision_that_the_backend_lacks_is_refused(backend: str, tiny: Bundle) -> None:
    """int8 is never passed off as something else."""
    with pytest.raises(BackendUnavailable, match="int8"):
        open_engine(tiny, backend, precision="int8")


def test_a_precision_runs_as_asked_or_not_at_all(tiny: Bundle) -> None:
    """bf16 on OpenVINO runs and is said in the info, or is refused where the CPU lacks it."""
    try:
        opened = open_engine(tiny, "openvino", precision="bf16")
    except BackendUnavailable as error:
        assert "bf16" in str(error)
    else:
        assert opened.info.precision == "bf16"
        opened.close()


def test_other_answers_than_the_golden_ones_stop_an_engine(backend: str, tiny: Bundle, tmp_path: Path) -> None:
    """A bundle whose probe holds other answers does not become an engine, and the error says by how much."""
    path = Path(shutil.copytree(tiny.path, tmp_path / "copy"))
    golden = tiny.golden()
    write_golden(
        path, type(golden)(**{name: getattr(golden, name) for name in golden.__slots__} | {"head": -golden.head})
    )
    write_draft(path, tiny.manifest)
    with pytest.raises(ProbeFailed, match=r"tiny@0\.1\.0 on .*embed is .* off the golden probe"):
        open_engine(load(path, allow_draft=True), backend)


@pytest.mark.parametrize("content", [b"garbage", b""])
def test_a_network_that_does_not_load_is_a_bundle_error(
    backend: str, tiny: Bundle, tmp_path: Path, content: bytes
) -> None:
    """The runtime's own error is translated, and the file named."""
    path = Path(shutil.copytree(tiny.path, tmp_path / "copy"))
    (path / "head.onnx").write_bytes(content)
    write_draft(path, tiny.manifest)
    with pytest.raises(BundleError, match=r"head\.onnx"):
        open_engine(load(path, allow_draft=True), backend)


def test_a_network_with_other_outputs_is_a_bundle_error(backend: str, tiny: Bundle, tmp_path: Path) -> None:
    """A valid ONNX file that is not the network the manifest means is refused with both signatures."""
    path = Path(shutil.copytree(tiny.path, tmp_path / "copy"))
    shutil.copy(path / "image.onnx", path / "head.onnx")
    write_draft(path, tiny.manifest)
    with pytest.raises(BundleError, match=r"head\.onnx.*windows"):
        open_engine(load(path, allow_draft=True), backend)


def _convolutions() -> bytes:
    """Pixels -> embeddings through two convolutions and two wide products."""
    random = np.random.default_rng(0)
    weights = {
        "scale": np.array(1 / 255, np.float32),
        "first": random.normal(0, 0.2, (24, 3, 3, 3)).astype(np.float32),
        "second": random.normal(0, 0.07, (48, 24, 3, 3)).astype(np.float32),
        "flat": np.array([-1, 48 * 4]),
        "wide": random.normal(0, 0.07, (192, 768)).astype(np.float32),
        "narrow": random.normal(0, 0.04, (768, WIDTH)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "first"], ["edges"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["edges"], ["lit"]),
        helper.make_node("Conv", ["lit", "second"], ["parts"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["parts"], ["kept"]),
        helper.make_node("AveragePool", ["kept"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Reshape", ["pooled", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "wide"], ["hidden"]),
        helper.make_node("Tanh", ["hidden"], ["bent"]),
        helper.make_node("MatMul", ["bent", "narrow"], ["embeddings"]),
    ]
    return _serialise(nodes, weights, ("images", TensorProto.UINT8, ["n", SIZE, SIZE, 3]), ["embeddings"])


def _attention() -> bytes:
    """Windows -> head through self-attention over time, with the plain mean beside it."""
    random = np.random.default_rng(1)
    weights = {
        name: random.normal(0, WIDTH**-0.5, (WIDTH, WIDTH)).astype(np.float32) for name in ("query", "key", "value")
    } | {"temperature": np.array(WIDTH**-0.5, np.float32)}
    nodes = [
        helper.make_node("MatMul", ["windows", "query"], ["queries"]),
        helper.make_node("MatMul", ["windows", "key"], ["keys"]),
        helper.make_node("MatMul", ["windows", "value"], ["values"]),
        helper.make_node("Transpose", ["keys"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["queries", "turned"], ["similarities"]),
        helper.make_node("Mul", ["similarities", "temperature"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["attention"], axis=-1),
        helper.make_node("MatMul", ["attention", "values"], ["mixed"]),
        helper.make_node("Add", ["mixed", "windows"], ["residual"]),
        helper.make_node("ReduceMean", ["residual"], ["head"], axes=[1], keepdims=0),
        helper.make_node("ReduceMean", ["windows"], ["pooled"], axes=[1], keepdims=0),
    ]
    return _serialise(nodes, weights, ("windows", TensorProto.FLOAT, ["m", FRAMES, WIDTH]), ["head", "pooled"])


def _serialise(
    nodes: list[Any], weights: dict[str, Any], source: tuple[str, int, list[Any]], targets: list[str]
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "deep",
        [helper.make_tensor_value_info(*source)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", WIDTH]) for name in targets],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_sequences_are_what_windows_are_compared_with_and_change_no_embedding(engine: Engine) -> None:
    """The head's output, where it orders the items or they are pixels; the embeddings bit for bit."""
    windows = np.stack([engine.encode(np.stack([solid(name)] * FRAMES))[0] for name in ("red", "cyan", "grey")])
    head, pooled, found = engine.embed_sequences(windows)
    plain = engine.embed(windows)
    assert (head.tobytes(), pooled.tobytes()) == (plain[0].tobytes(), plain[1].tobytes())
    assert engine.info.compared == "head" and found.tobytes() == head.tobytes()
    assert found.shape == (3, 1, engine.info.dimensions)
    examples = engine.prototypes(windows[:2], np.zeros((1, engine.info.dimensions), np.float32))
    assert examples.tobytes() == found[:2].tobytes()
    with pytest.raises(ValueError, match="text must be float32"):
        engine.prototypes(windows, np.zeros((1, 3), np.float32))


def test_where_the_head_averages_the_items_are_compared(tiny: Bundle, tmp_path: Path) -> None:
    """A zero-shot CLIP: its head forgets the order of the frames, so they are compared place by place."""
    path = tiny_bundle(tmp_path / "averaging", head="meanp")
    engine = open_engine(load(path), "onnxruntime", threads=1)
    windows = engine.encode(np.stack([solid(name) for name in ("red", "cyan") * (FRAMES // 2)]))[0][None]
    found = engine.embed_sequences(windows)[2]
    assert engine.info.compared == "items" and found.shape == (1, FRAMES, engine.info.dimensions)
    assert np.linalg.norm(found, axis=-1) == pytest.approx(np.ones((1, FRAMES)), abs=1e-5)
    assert found[0, 0] @ windows[0, 0] == pytest.approx(np.linalg.norm(windows[0, 0]), abs=1e-5)
    engine.close()
