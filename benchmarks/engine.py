"""Engines against the matrix products of this machine, and against float32 row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
from models import bundles, int8

from engines.backends import ov
from engines.backends.network import Precision, thread_count
from engines.bench.flops import count_flops
from engines.bench.products import products
from engines.bench.rounds import Call, Figure, Rates, figure, measure, ratio
from engines.bundle.files import Bundle
from engines.contract import Engine
from engines.errors import BackendUnavailable

BATCH = 16
PRECISIONS: tuple[Precision, ...] = tuple(name for name in get_args(Precision) if name != "fp16")


def engine(*, quick: bool) -> dict[str, Any]:
    """Return shares of the peak and gains over row by row, for each model and each precision that runs here.

    `<model>_over_gemm_<precision>`: operations per second of the image network over those of the best product of the
    same round; the ViT-B/32's is also `engine_over_gemm_<precision>`. `<model>_<precision>_over_rows_fp32`: frames that
    are encoded and end a window each, over those of float32 row by row; the best of them is `<model>_over_rows_fp32`.
    Keys in `_cpu` are by CPU time instead of the clock.
    """
    found: dict[str, Any] = {}
    for name, bundle in bundles(quick).items():
        found |= _model(name, int8(bundle), quick)
    return found


def _model(name: str, bundle: Bundle, quick: bool) -> dict[str, Any]:
    threads = thread_count(None)
    engines: dict[str, Engine] = {"rows": ov.open(bundle, threads=threads, tiles=(1,))}
    peaks: dict[str, list[str]] = {}
    calls: dict[str, Call] = {}
    for precision in PRECISIONS:
        try:
            engines[precision] = ov.open(bundle, threads=threads, precision=precision)
        except BackendUnavailable:
            continue
        of_products = products(precision, threads)
        peaks[precision] = list(of_products)
        calls |= of_products
    for way, opened in engines.items():
        calls |= {way: Call(_encode(opened, bundle), BATCH), f"{way} head": Call(_embed(opened, bundle), BATCH)}
    rates = measure(calls, rounds=5 if quick else 9, seconds=0.3 if quick else 1.0)
    for opened in engines.values():
        opened.close()
    operations = count_flops(bundle, "image.onnx")
    return _figures(name, rates, peaks, operations, "wall") | _figures(name, rates, peaks, operations, "cpu")


def _figures(
    name: str, rates: Mapping[str, Rates], peaks: Mapping[str, Sequence[str]], operations: int, clock: str
) -> dict[str, Any]:
    of: dict[str, list[float]] = {label: getattr(rate, clock) for label, rate in rates.items()}
    suffix = "" if clock == "wall" else "_cpu"
    rows, gains = _together(of, "rows"), list[Figure]()
    found: dict[str, Any] = {}
    for precision, names in peaks.items():
        peak = [max(of_round) for of_round in zip(*(of[product] for product in names), strict=True)]
        share = ratio([rate * operations for rate in of[precision]], peak)
        gain = ratio(_together(of, precision), rows)
        gains.append(gain)
        found |= {
            f"{name}_over_gemm_{precision}{suffix}": share.data(),
            f"{name}_{precision}_over_rows_fp32{suffix}": gain.data(),
            f"{name}_frames_per_second_{precision}{suffix}": figure(of[precision]).data(),
            f"gemm_gflops_{precision}{suffix}": figure([value / 1e9 for value in peak]).data(),
        }
        if name == "vit_b32":
            found[f"engine_over_gemm_{precision}{suffix}"] = share.data()
    return found | {f"{name}_over_rows_fp32{suffix}": max(gains, key=lambda gain: gain.value).data()}


def _together(of: Mapping[str, Sequence[float]], way: str) -> list[float]:
    """Rates of frames that are encoded and end a window each."""
    return [1 / (1 / frames + 1 / windows) for frames, windows in zip(of[way], of[f"{way} head"], strict=True)]


def _encode(opened: Engine, bundle: Bundle) -> Callable[[], object]:
    images = np.resize(bundle.golden().images, (BATCH, *bundle.golden().images.shape[1:]))
    return lambda: opened.encode(images)


def _embed(opened: Engine, bundle: Bundle) -> Callable[[], object]:
    windows = np.resize(bundle.golden().windows, (BATCH, *bundle.golden().windows.shape[1:]))
    return lambda: opened.embed(windows)
