"""From a bundle to an engine on a GPU: what is missing is named, what is refused is built again, what differs goes."""

from __future__ import annotations

import importlib.util
import logging
import sys
from typing import Any

import numpy as np
import pytest
from fake_tensorrt import FakeCuda, fake_tensorrt

from engines.backends import open_engine, tensorrt
from engines.backends.tensorrt import cuda as cuda_module
from engines.backends.tensorrt import library as library_module
from engines.backends.tensorrt.cuda import DeviceFacts, device_index, open_cuda
from engines.backends.tensorrt.library import Library, load_library
from engines.build_cache.entries import DAMAGED, build_folder
from engines.bundle.files import Bundle
from engines.errors import BackendUnavailable

NO_DRIVER = pytest.mark.skipif(importlib.util.find_spec("cuda.bindings") is None, reason="cuda-bindings is not there")


def opened(bundle: Bundle, cuda: FakeCuda, module: Any = None, **given: Any) -> Any:
    """An engine on a FAKE device."""
    library = Library("fake", "0", module or fake_tensorrt(cuda))
    return tensorrt.open_with(library, cuda, bundle, 0, **given)


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As if these packages were not installed."""
    real = importlib.util.find_spec
    monkeypatch.setattr(library_module.importlib.util, "find_spec", lambda name: None if name in names else real(name))


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tiny: Bundle) -> None:
    """With what to install, and the way out."""
    without(monkeypatch, "tensorrt", "tensorrt_rtx")
    with pytest.raises(BackendUnavailable, match=r"^TensorRT is not installed; pip install 'actionwire\[tensorrt\]'"):
        open_engine(tiny, "tensorrt")
    assert "TensorRT is not installed" in str(tensorrt.unavailable())


def test_a_library_that_does_not_load_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As bindings whose libraries are missing: the reason is repeated, on one line."""

    def broken(name: str) -> Any:
        raise ImportError("libnvinfer.so.11: cannot open shared object file:\nNo such file or directory")

    monkeypatch.setattr(library_module.importlib, "import_module", broken)
    monkeypatch.setattr(library_module.importlib.util, "find_spec", lambda name: object())
    with pytest.raises(
        BackendUnavailable, match=r"tensorrt does not load \(libnvinfer\.so\.11: cannot open .* file: No"
    ):
        load_library()


@NO_DRIVER
def test_a_missing_driver_is_named(tiny: Bundle) -> None:
    """cuda-bindings is asked for real; on a machine with a driver and a GPU there is nothing to name."""
    if importlib.util.find_spec("tensorrt") is None and importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("no TensorRT is there")
    reason = tensorrt.unavailable()
    if reason is None:
        pytest.skip("there is a GPU")
    assert ("no NVIDIA driver" in reason or "there is no GPU" in reason) and "let the backend be openvino" in reason
    assert "\n" not in reason
    with pytest.raises(BackendUnavailable, match="let the backend be openvino"):
        open_engine(tiny, "tensorrt")


@NO_DRIVER
def test_a_gpu_that_is_not_there_is_named() -> None:
    """By its number; where there is no driver, that is what is named."""
    with pytest.raises(BackendUnavailable, match=r"there is no GPU 99|no NVIDIA driver"):
        open_cuda(99)


def test_missing_bindings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both, each with its reason; pycuda does not even import where there is no driver."""
    for name in ("cuda.bindings", "pycuda"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in cuda_module.SEAMS.values():
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(
        BackendUnavailable, match=r"no library that reaches a GPU loads: cuda-bindings \(.*\); pycuda \("
    ):
        open_cuda(0)


@pytest.mark.parametrize(("device", "index"), [("auto", 0), ("0", 0), ("3", 3), ("cuda:1", 1), ("CUDA:2", 2)])
def test_a_device_is_a_number(device: str, index: int) -> None:
    """Or the first one."""
    assert device_index(device) == index


@pytest.mark.parametrize("device", ["CPU", "GPU", "", "-1", "cuda:", "1.5", "NPU9"])
def test_another_device_is_refused(device: str) -> None:
    """TensorRT has no other."""
    with pytest.raises(BackendUnavailable, match="TensorRT runs on NVIDIA GPUs, not on"):
        device_index(device)


def test_a_plan_of_another_driver_is_built_again(tiny: Bundle) -> None:
    """The runtime refuses what the cache holds; it is set aside, built once more, and taken."""
    cuda, refused = FakeCuda(), []
    heard: list[str] = []

    def refuses(plan: bytes) -> bool:
        refused.append(plan)
        return len(refused) == 1

    engine = opened(
        tiny, cuda, fake_tensorrt(cuda, refuses=refuses), buckets=(2,), told=lambda what, _: heard.append(what)
    )
    engine.close()
    assert any("it is built again" in one for one in heard) and sum("parsing" in one for one in heard) == 3
    assert len(list(build_folder().glob(f"*{DAMAGED}"))) == 1 and cuda.alive == []


def test_a_library_that_refuses_its_own_plans_is_named(tiny: Bundle) -> None:
    """Built twice, refused twice: another TensorRT is needed; nothing stays on the device."""
    cuda = FakeCuda()
    with pytest.raises(BackendUnavailable, match=r"does not load on Fake GPU.* what it built of image.onnx"):
        opened(tiny, cuda, fake_tensorrt(cuda, refuses=lambda plan: True))
    assert cuda.alive == [] and cuda.closed == 1


def test_a_second_start_builds_nothing(tiny: Bundle) -> None:
    """Two networks, three sizes, built once."""
    heard: list[str] = []
    for _ in range(2):
        opened(tiny, FakeCuda(), buckets=(1, 4, 16), told=lambda what, _: heard.append(what)).close()
    assert sum("parsing" in one for one in heard) == 6


class Moody:
    """Makes the answers of one batch size depend on where a row stands."""

    def __init__(self, patch: pytest.MonkeyPatch, sizes: tuple[int, ...]) -> None:
        from engines.backends.tensorrt.runner import Runner

        real = Runner._finish

        def finish(runner: Any, slot: Any, tile: Any) -> Any:
            answers = real(runner, slot, tile)
            if tile.size in sizes:
                for part in answers:
                    part += np.arange(len(part), dtype=np.float32).reshape(-1, *[1] * (part.ndim - 1)) * 1e-6
            return answers

        patch.setattr(Runner, "_finish", finish)


def test_a_size_that_cares_for_position_is_dropped(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others stay, and the engine is invariant."""
    Moody(monkeypatch, (4,))
    engine = opened(tiny, FakeCuda(), buckets=(1, 4, 16))
    assert 4 not in engine.image.sizes and engine.info.batch_invariant
    engine.close()


def test_where_no_size_is_steady_it_is_said(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All sizes stay in use, the info says False, and the log says for each network what it costs."""
    Moody(monkeypatch, (2, 4))
    cuda = FakeCuda()
    with caplog.at_level(logging.WARNING):
        engine = opened(tiny, cuda, buckets=(2, 4))
    assert not engine.info.batch_invariant and engine.image.sizes == (4, 2)
    assert len(caplog.messages) == 2 and "replay may differ from live" in caplog.messages[0]
    engine.close()
    assert cuda.alive == [] and cuda.closed == 1


def test_the_device_is_what_a_plan_is_for() -> None:
    """Name, compute capability and driver: what the key of a plan says."""
    facts = DeviceFacts("NVIDIA H200", "9.0", 2**37, "13.0", "0000:01:00.0")
    assert str(facts) == "NVIDIA H200, compute capability 9.0, driver 13.0"


@pytest.mark.gpu
def test_a_bundle_runs_on_a_gpu(tiny: Bundle) -> None:
    """For real: through the golden probe, on whatever GPU there is. NOT YET RUN anywhere."""
    if (reason := tensorrt.unavailable()) is not None:
        pytest.skip(reason)
    engine = open_engine(tiny, "tensorrt")
    images = tiny.golden().images
    alone = np.concatenate([engine.encode(image[None])[0] for image in images])
    if engine.info.batch_invariant:
        np.testing.assert_array_equal(engine.encode(images)[0], alone)
    engine.close()
