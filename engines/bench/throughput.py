"""Speed of a bundle on this machine, next to the machine's own measured peak, in one run.

Absolute figures of a shared machine say little. What lasts is the fraction of the peak of a large matrix product, which
the same process measures in the same minute. The best of several rounds counts, since neighbours only slow things down,
and the peak is measured anew before every measurement. A share above 100 % means that the product was always disturbed:
measure again on a quieter machine.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from engines.backends import BACKENDS, open_engine
from engines.backends.network import thread_count
from engines.bench.flops import count_flops
from engines.bundle.files import Bundle
from engines.contract import Engine
from engines.errors import BackendUnavailable

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "sve")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One stage of one backend at one batch size."""

    backend: str
    stage: str
    """`encode` (frames) or `embed` (windows)."""
    batch: int
    per_second: float
    """Frames or windows per second, best round."""
    latency_ms: float
    """Median duration of one call."""
    peak_fraction: float
    """Share of the measured GEMM peak: operations per second of the network over those of the matrix product."""


@dataclass(frozen=True, slots=True)
class Report:
    """The results of one run."""

    bundle: str
    machine: str
    cpu_flags: tuple[str, ...]
    threads: int
    gemm_gflops: float
    """float32 matrix product by numpy on all CPUs, best round."""
    frame_gflop: float
    """Operations of the image network per frame, 2 per multiply-accumulate; 0 for a clip bundle."""
    window_gflop: float
    """Operations of the head, or of the clip network, per window."""
    measurements: tuple[Measurement, ...]
    unavailable: dict[str, str]
    """Backend -> why it was not measured."""

    def data(self) -> dict[str, Any]:
        """Return the report as plain JSON data."""
        return asdict(self)

    def text(self) -> str:
        """Return the report as lines for a terminal."""
        lines = [
            f"{self.bundle} on {self.machine}, {self.threads} threads, {' '.join(self.cpu_flags) or 'no known flags'}",
            f"matrix product (numpy, float32): {self.gemm_gflops:.0f} GFLOP/s; "
            f"{self.frame_gflop:.3g} GFLOP per frame, {self.window_gflop:.3g} per window",
            f"{'backend':<12} {'stage':<7} {'batch':>5} {'per second':>11} {'ms per call':>12} {'of the peak':>12}",
        ]
        for row in self.measurements:
            lines.append(
                f"{row.backend:<12} {row.stage:<7} {row.batch:>5} {row.per_second:>11,.0f} {row.latency_ms:>12.2f} "
                f"{row.peak_fraction:>12.1%}"
            )
        lines += [f"{name}: not measured: {reason}" for name, reason in self.unavailable.items()]
        return "\n".join(lines)


def bench(
    bundle: Bundle, *, batches: Sequence[int] = (1, 8, 32), seconds: float = 0.5, rounds: int = 3, size: int = 1024
) -> Report:
    """Measure every available backend.

    batches: rows per call. seconds: duration of one round of one measurement. size: rows of the square matrices.
    """
    engines, unavailable = _open_all(bundle)
    manifest = bundle.manifest
    flops = {name: count_flops(bundle, name) for name in manifest.network_names}
    work = {"encode": flops.get("image.onnx", 0), "embed": flops.get("head.onnx") or flops.get("clip.onnx", 0)}
    golden = bundle.golden()
    calls: dict[tuple[str, str, int], Callable[[], object]] = {}
    for batch in batches:
        images = np.resize(golden.images, (batch, *golden.images.shape[1:]))
        windows = np.resize(golden.windows, (batch, *golden.windows.shape[1:]))
        for name, engine in engines.items():
            if manifest.kind == "frame":
                calls[name, "encode", batch] = _bound(engine.encode, images)
            calls[name, "embed", batch] = _bound(engine.embed, windows)
    product = _product(size)
    peaks: list[float] = []
    durations: dict[tuple[str, str, int], list[float]] = {key: [] for key in calls}
    for _ in range(rounds):
        for key, call in calls.items():
            peaks.append(2 * size**3 / min(_durations(product, seconds / 2)))
            durations[key] += _durations(call, seconds)
    for engine in engines.values():
        engine.close()
    peak = max(peaks)
    measurements = []
    for (name, stage, batch), found in durations.items():
        fraction = work[stage] * batch / min(found) / peak
        measurements.append(Measurement(name, stage, batch, batch / min(found), 1e3 * median(found), fraction))
    return Report(
        bundle=bundle.label,
        machine=machine(),
        cpu_flags=cpu_flags(),
        threads=thread_count(None),
        gemm_gflops=peak / 1e9,
        frame_gflop=work["encode"] / 1e9,
        window_gflop=work["embed"] / 1e9,
        measurements=tuple(measurements),
        unavailable=unavailable,
    )


def _open_all(bundle: Bundle) -> tuple[dict[str, Engine], dict[str, str]]:
    engines: dict[str, Engine] = {}
    unavailable = {}
    for name in BACKENDS:
        try:
            engines[name] = open_engine(bundle, name)
        except BackendUnavailable as error:
            unavailable[name] = str(error)
    return engines, unavailable


def _bound(call: Callable[[Any], object], argument: object) -> Callable[[], object]:
    return lambda: call(argument)


def _product(size: int) -> Callable[[], object]:
    left, right = np.random.default_rng(0).normal(size=(2, size, size)).astype(np.float32)
    out = np.empty_like(left)
    return lambda: np.matmul(left, right, out=out)


def _durations(call: Callable[[], object], seconds: float) -> list[float]:
    call()
    found: list[float] = []
    deadline = time.perf_counter() + seconds
    while not found or time.perf_counter() < deadline:
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return found


def _cpu_lines() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return dict(reversed([(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]))


def machine() -> str:
    """Return the name of this machine's processor."""
    return _cpu_lines().get("model name") or platform.processor() or platform.machine()


def cpu_flags() -> tuple[str, ...]:
    """Return those flags of the processor that decide how fast a network can be."""
    lines = _cpu_lines()
    present = set((lines.get("flags") or lines.get("Features") or "").split())
    return tuple(flag for flag in _FLAGS if flag in present)
