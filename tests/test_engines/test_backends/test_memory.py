"""Bundles that carry memory from frame to frame of one camera."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.backends import open_engine
from engines.backends.tensorrt.plans import network_file
from engines.build.choose import choose
from engines.build.quantise import quantise
from engines.bundle.files import Bundle, load, write_draft
from engines.bundle.manifest import check_deployment, parse
from engines.contract import Engine, Images, Items, Memory
from engines.errors import BackendUnavailable, BundleError, CalibrationError, IncompatibleBundle
from engines.inspection import inspect
from engines.testing import tiny_bundle

HISTORY = 3


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def engine(request: pytest.FixtureRequest, tiny_memory: Bundle) -> Iterator[Engine]:
    """Each backend that carries memory; three threads, so that shares are uneven."""
    opened = open_engine(tiny_memory, request.param, threads=3)
    yield opened
    opened.close()


def frames(count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Random pictures."""
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


def streamed(engine: Engine, images: Images) -> Items:
    """Items of one stream, alone, frame by frame."""
    memory: Memory | None = None
    items = []
    for image in images:
        item, memory = engine.encode(image[None], memory)
        items.append(item[0])
    return np.stack(items)


def test_the_info_tells_of_the_memory(engine: Engine) -> None:
    """How far an item reaches back, and the form of each buffer of one camera."""
    assert (engine.info.history, engine.info.memory) == (HISTORY, ((2,),) * HISTORY)
    _, memory = engine.encode(frames(4))
    assert memory is not None and [buffer.shape for buffer in memory] == [(4, 2)] * HISTORY


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True), min_size=1, max_size=6))
def test_cameras_in_one_call_do_not_see_each_other(engine: Engine, calls: Sequence[Sequence[int]]) -> None:
    """Whatever cameras share a call, in whatever order, each gets bit for bit what its stream gives alone."""
    streams = {camera: frames(len(calls), seed=camera) for camera in range(4)}
    alone = {camera: streamed(engine, images) for camera, images in streams.items()}
    seen = dict.fromkeys(streams, 0)
    kept = {camera: [np.zeros(shape, np.float32) for shape in engine.info.memory] for camera in streams}
    for cameras in calls:
        images = np.stack([streams[camera][seen[camera]] for camera in cameras])
        given_memory = tuple(np.stack(parts) for parts in zip(*(kept[camera] for camera in cameras), strict=True))
        items, memory = engine.encode(images, given_memory)
        for row, camera in enumerate(cameras):
            np.testing.assert_array_equal(items[row], alone[camera][seen[camera]])
            kept[camera] = [buffer[row] for buffer in memory or ()]
            seen[camera] += 1


def test_as_many_frames_as_the_history_rebuild_the_memory(engine: Engine) -> None:
    """From a start in the middle, the items are those of the whole stream once L frames went before; not earlier."""
    images = frames(12)
    whole, late = streamed(engine, images), streamed(engine, images[4:])
    np.testing.assert_array_equal(late[HISTORY:], whole[4 + HISTORY :])
    assert all(not np.array_equal(late[at], whole[4 + at]) for at in range(HISTORY))


def test_wrong_memory_is_refused(engine: Engine) -> None:
    """Too few buffers, those of another number of cameras, another shape or dtype."""
    right = tuple(np.zeros((2, 2), np.float32) for _ in range(HISTORY))
    with pytest.raises(ValueError, match="has 3 buffers of memory, but 2 buffers were given"):
        engine.encode(frames(2), right[:2])
    for wrong in (np.zeros((1, 2), np.float32), np.zeros((2, 3), np.float32), np.zeros((2, 2))):
        with pytest.raises(ValueError, match=r"memory_1 must be float32 \[2, 2\]"):
            engine.encode(frames(2), (right[0], wrong, right[2]))


def test_a_network_without_the_memory_of_its_manifest_is_refused(tiny: Bundle, tmp_path: Path) -> None:
    """The manifest says memory, the network takes none."""
    path = tiny_bundle(tmp_path / "wrong", history=1, sealed=False)
    (path / "image.onnx").write_bytes(tiny.read("image.onnx"))
    write_draft(path, parse((path / "bundle.json").read_bytes(), "bundle.json")[0])
    for backend in ("openvino", "onnxruntime"):
        with pytest.raises(BundleError, match="memory_0"):
            open_engine(load(path, allow_draft=True), backend)


def test_what_cannot_carry_memory_says_so(tiny_memory: Bundle, tmp_path: Path) -> None:
    """TensorRT and int8 refuse with what to choose instead; `auto` chooses it by itself; an inspection shows it."""
    with pytest.raises(BackendUnavailable, match="choose openvino or onnxruntime"):
        network_file(tiny_memory, "image.onnx", "fp32")
    with pytest.raises(CalibrationError, match="int8 is made of networks without"):
        quantise(tiny_memory, frames(200), tmp_path / "out", version="2")
    assert choose(tiny_memory, timed=lambda engine, seconds: 1.0).backend in ("openvino", "onnxruntime", "auto")
    found = inspect(tiny_memory)
    assert not found.failed and "memory      3 frames back" in found.text()


def test_the_worker_must_rewind_over_window_and_memory(tiny_memory: Bundle) -> None:
    """Eight frames and three before them at four a second, twice as many under overload, and a held item."""
    check_deployment(tiny_memory.manifest, rate=4, rewind_seconds=6.0)
    with pytest.raises(IncompatibleBundle, match=r"for a window and its memory, .* set rewind_seconds to 6 or more"):
        check_deployment(tiny_memory.manifest, rate=4, rewind_seconds=5.9)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "clip"}, "a clip bundle encodes whole windows"),
        ({"memory": {"history": 1, "shapes": [[4096, 4097]]}}, "more than 16777216 numbers"),
        ({"memory": {"history": 0, "shapes": [[1]]}}, "memory.history"),
        ({"memory": {"history": 1, "shapes": []}}, "memory.shapes"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(tiny_memory: Bundle, change: dict[str, object], reason: str) -> None:
    """Memory of whole windows, without end, without a past."""
    tree = tiny_memory.manifest.data() | change
    with pytest.raises(BundleError, match=reason):
        parse(json.dumps(tree), "bundle.json")
