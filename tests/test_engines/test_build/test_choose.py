"""`auto`: measured once, remembered, never a variant that nobody judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_tensorrt import FakeCuda, fake_tensorrt

from engines.backends.tensorrt.library import Library
from engines.build.choose import choose
from engines.bundle.files import Bundle
from engines.bundle.manifest import Calibration, Variant
from engines.contract import Engine
from engines.errors import BackendUnavailable


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("ACTIONWIRE_CACHE", str(tmp_path))
    return tmp_path / "choices"


def rates(**of: float) -> Callable[[Engine, float], float]:
    """A stopwatch that says what each `backend_precision` does."""

    def timed(engine: Engine, seconds: float) -> float:
        return of.get(f"{engine.info.backend}_{engine.info.precision}", 1.0)

    return timed


def test_the_fastest_is_taken_and_the_line_says_why(tiny: Bundle) -> None:
    """All rates stand in it, and why int8 was not tried."""
    choice = choose(tiny, timed=rates(openvino_fp32=100, onnxruntime_fp32=150))
    assert (choice.backend, choice.precision) == ("onnxruntime", "fp32")
    assert choice.why.startswith("onnxruntime fp32, 150 windows/s; openvino fp32 100")
    assert "openvino int8: the bundle has no such variant" in choice.why
    assert "\n" not in choice.why


def test_a_small_gain_changes_nothing(tiny: Bundle) -> None:
    """Below ten percent the first candidate stays: another choice would change last bits."""
    choice = choose(tiny, timed=rates(openvino_fp32=100, onnxruntime_fp32=109))
    assert (choice.backend, choice.precision) == ("openvino", "fp32")


def test_a_choice_is_remembered(tiny: Bundle) -> None:
    """On this host, for this bundle and this number of threads."""
    first = choose(tiny, threads=2, timed=rates(onnxruntime_fp32=9))
    assert choose(tiny, threads=2, timed=rates(openvino_fp32=9)) == first
    assert choose(tiny, threads=1, timed=rates(openvino_fp32=9)).backend == "openvino"


@pytest.mark.parametrize(
    "damage", ["", "[]", '{"backend": "openvino"}', '{"backend": "x", "precision": "fp32", "why": ""}']
)
def test_a_damaged_memory_is_measured_anew(tiny: Bundle, cache: Path, damage: str) -> None:
    """And mended."""
    choose(tiny, timed=rates(onnxruntime_fp32=9))
    (file,) = cache.iterdir()
    file.write_text(damage)
    assert choose(tiny, timed=rates(openvino_fp32=9)).backend == "openvino"


def test_a_variant_that_was_never_judged_is_passed_over(tiny: Bundle) -> None:
    """Cosines are no events: `auto` waits for somebody to have compared those."""
    variant = Variant(calibration=Calibration(sha256="0" * 64, frames=200), worst=0.001, mean=0.001)
    bundle = Bundle(tiny.path, tiny.manifest.model_copy(update={"variants": {"int8": variant}}))
    assert "openvino int8: its events were never judged" in choose(bundle, timed=rates()).why


def test_a_judged_variant_is_a_candidate(tiny: Bundle) -> None:
    """Here its files are missing, so the note says that, and no longer speaks of judging."""
    calibration = Calibration(sha256="0" * 64, frames=200)
    variant = Variant(calibration=calibration, worst=0.001, mean=0.001, top1=0.0, events=0.0)
    bundle = Bundle(tiny.path, tiny.manifest.model_copy(update={"variants": {"int8": variant}}))
    why = choose(bundle, timed=rates()).why
    assert "image.int8.onnx cannot be read" in why and "judged" not in why


def test_one_backend_may_be_asked_for(tiny: Bundle) -> None:
    """Then only the precision is chosen; a backend without candidates is an error with a remedy."""
    assert choose(tiny, "onnxruntime", timed=rates(openvino_fp32=99)).backend == "onnxruntime"
    with pytest.raises(BackendUnavailable, match="`auto` knows no backend other; name a precision"):
        choose(tiny, "other")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """A FAKE device for TensorRT."""
    cuda = FakeCuda()
    library = Library("fake", "0", fake_tensorrt(cuda))
    monkeypatch.setattr("engines.backends.tensorrt.load_library", lambda: library)
    monkeypatch.setattr("engines.backends.tensorrt.open_cuda", lambda index: cuda)
    return cuda


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host on which TensorRT finds no driver."""

    def missing(index: int) -> None:
        raise BackendUnavailable("no NVIDIA driver is on this machine; let the backend be openvino")

    monkeypatch.setattr("engines.backends.tensorrt.load_library", lambda: None)
    monkeypatch.setattr("engines.backends.tensorrt.open_cuda", missing)


def test_without_a_gpu_nothing_is_measured_for_a_named_precision(tiny: Bundle, no_gpu: None, cache: Path) -> None:
    """The first CPU runtime runs it, and the line says what TensorRT lacks."""
    choice = choose(tiny, precision="fp32")
    assert (choice.backend, choice.precision) == ("auto", "fp32") and not cache.exists()
    assert choice.why == "as set; tensorrt: no NVIDIA driver is on this machine; let the backend be openvino"


def test_without_a_gpu_it_is_named_once(tiny: Bundle, no_gpu: None) -> None:
    """And the others are measured; TensorRT alone is an error that says the same."""
    assert choose(tiny, timed=rates()).why.count("no NVIDIA driver") == 1
    with pytest.raises(BackendUnavailable, match=r"nothing on this host runs .*: tensorrt: no NVIDIA driver"):
        choose(tiny, "tensorrt")


def test_a_gpu_is_taken_where_it_is_fastest(tiny: Bundle, gpu: FakeCuda) -> None:
    """Of the candidates in the named precision, by what was measured; nothing stays on the device."""
    fast = choose(tiny, precision="fp32", timed=rates(openvino_fp32=100, tensorrt_fp32=5000))
    assert (fast.backend, fast.precision) == ("tensorrt", "fp32")
    assert fast.why == "tensorrt fp32, 5,000 windows/s; openvino fp32 100, onnxruntime fp32 1"
    slow = choose(tiny, precision="fp32", threads=1, timed=rates(openvino_fp32=100, tensorrt_fp32=90))
    assert slow.backend == "openvino" and gpu.alive == []


def test_what_is_named_is_not_measured(tiny: Bundle, gpu: FakeCuda, cache: Path) -> None:
    """Backend and precision both: as set."""
    assert choose(tiny, "tensorrt", precision="fp32").why == "as set" and not cache.exists()


def test_the_stopwatch_runs_the_engine(tiny: Bundle, tiny_clip: Bundle) -> None:
    """Real measurements, of frame and of clip bundles."""
    for bundle in (tiny, tiny_clip):
        assert "windows/s" in choose(bundle, "openvino", seconds=0.01).why
