"""`auto`: measured once, remembered, never a variant that nobody judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
    with pytest.raises(BackendUnavailable, match="`auto` knows no backend tensorrt; name a precision"):
        choose(tiny, "tensorrt")


def test_the_stopwatch_runs_the_engine(tiny: Bundle, tiny_clip: Bundle) -> None:
    """Real measurements, of frame and of clip bundles."""
    for bundle in (tiny, tiny_clip):
        assert "windows/s" in choose(bundle, "openvino", seconds=0.01).why
