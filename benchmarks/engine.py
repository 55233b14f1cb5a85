"""Engines against the matrix products of this machine, and against themselves row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from models import bundles

from engines.backends import ov
from engines.backends.network import Precision, thread_count
from engines.bench.flops import count_flops
from engines.bench.products import products
from engines.bench.rounds import Call, figure, measure, ratio
from engines.bundle.files import Bundle
from engines.contract import Engine

BATCH = 16


def engine(*, quick: bool) -> dict[str, Any]:
    """Return `<model>_over_gemm_<precision>`, `<model>_over_rows_<precision>` and rates, for each model.

    Shares are operations per second of the image network over those of the best product of the same round. The
    ViT-B/32's share is also `engine_over_gemm_<precision>`. Keys in `_cpu` are by CPU time instead of the clock.
    """
    found: dict[str, Any] = {}
    for name, bundle in bundles(quick).items():
        for precision in ("fp32", "bf16"):
            found |= _model(name, bundle, precision, quick)
    return found


def _model(name: str, bundle: Bundle, precision: Precision, quick: bool) -> dict[str, Any]:
    threads = thread_count(None)
    peaks = products(precision, threads)
    if not peaks:
        return {}
    calls, engines = dict(peaks), []
    operations = count_flops(bundle, "image.onnx")
    for label, tiles in (("tiles", None), ("rows", (1,))):
        opened = ov.open(bundle, threads=threads, precision=precision, tiles=tiles)
        engines.append(opened)
        calls[label] = Call(_encode(opened, bundle), BATCH)
    windows = np.resize(bundle.golden().windows, (BATCH, *bundle.golden().windows.shape[1:]))
    for label, opened in zip(("tiles head", "rows head"), engines, strict=True):
        calls[label] = Call(_embed(opened, windows), BATCH)
    rates = measure(calls, rounds=5 if quick else 9, seconds=0.3 if quick else 1.0)
    for opened in engines:
        opened.close()
    found: dict[str, Any] = {}
    for clock, suffix in (("wall", ""), ("cpu", "_cpu")):
        of = {label: getattr(rate, clock) for label, rate in rates.items()}
        peak = [max(of_round) for of_round in zip(*(of[product] for product in peaks), strict=True)]
        share = ratio([rate * operations for rate in of["tiles"]], peak).data()
        tiles, rows = (
            [_together(*pair) for pair in zip(of[way], of[f"{way} head"], strict=True)] for way in ("tiles", "rows")
        )
        found |= {
            f"{name}_over_gemm_{precision}{suffix}": share,
            f"{name}_over_rows_{precision}{suffix}": ratio(tiles, rows).data(),
            f"{name}_frames_per_second_{precision}{suffix}": figure(of["tiles"]).data(),
            f"gemm_gflops_{precision}{suffix}": figure([value / 1e9 for value in peak]).data(),
        }
        if name == "vit_b32":
            found[f"engine_over_gemm_{precision}{suffix}"] = share
    return found


def _together(frames: float, windows: float) -> float:
    """The rate of frames that are encoded and end a window each."""
    return 1 / (1 / frames + 1 / windows)


def _encode(opened: Engine, bundle: Bundle) -> Callable[[], object]:
    images = np.resize(bundle.golden().images, (BATCH, *bundle.golden().images.shape[1:]))
    return lambda: opened.encode(images)


def _embed(opened: Engine, windows: Any) -> Callable[[], object]:
    return lambda: opened.embed(windows)
