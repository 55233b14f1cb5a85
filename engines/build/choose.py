"""`auto`, of the precision and of the backend: what runs a bundle fastest on this host, measured once and remembered.

A flag of the processor is not a speed: bf16 is slower than fp32 on some that list it, and int8 convolutions are slower
in one runtime and three times as fast in another. So every candidate is opened, must answer the golden probe, and is
timed.

A precision that is named, on a host without a GPU for TensorRT, leaves nothing to measure: the first CPU runtime that
is there runs the bundle, and the choice says what TensorRT lacks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from engines.backends import BACKENDS, open_engine, tensorrt
from engines.backends.host_cache import recall, remember
from engines.backends.network import Precision, thread_count
from engines.build_cache.build_lock import Told
from engines.bundle.files import Bundle
from engines.contract import Engine
from engines.errors import BackendUnavailable, EngineError

LEAST_GAIN = 1.1
"""How much faster than fp32 on the first backend something must be to be taken: another choice changes last bits."""

_BATCH = 8
_CANDIDATES: tuple[tuple[str, Precision], ...] = (
    ("openvino", "fp32"),
    ("openvino", "int8"),
    ("openvino", "bf16"),
    ("onnxruntime", "fp32"),
    ("tensorrt", "fp32"),
    ("tensorrt", "int8"),
    ("tensorrt", "bf16"),
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What to open, and one line that says why."""

    backend: str
    precision: Precision
    why: str


def choose(
    bundle: Bundle,
    backend: str = "auto",
    device: str = "auto",
    *,
    precision: Precision | Literal["auto"] = "auto",
    threads: int | None = None,
    seconds: float = 0.5,
    timed: Callable[[Engine, float], float] | None = None,
    told: Told | None = None,
) -> Choice:
    """Return the fastest backend and precision for `bundle` on this host.

    backend, precision: `auto`, or the only one to consider. seconds: how long each candidate is timed. timed: measures
    instead, for tests. told: hears of what is built meanwhile. Under `auto` an int8 variant is considered once its
    events were judged (`Variant.judged`). The backend of the choice is `auto` where nothing had to be measured: the
    first that opens. Raises BackendUnavailable when nothing runs the bundle.
    """
    missing = tensorrt.unavailable(device) if backend in ("auto", "tensorrt") else None
    if precision != "auto" and (backend != "auto" or missing):
        return Choice(backend, precision, f"as set; tensorrt: {missing}" if missing else "as set")
    key = [bundle.manifest.id, *sorted(bundle.manifest.files.values()), backend, device, str(thread_count(threads))]
    key += [f"{name} {_version(name)}" for name in BACKENDS]
    key += [f"{name} {variant.judged}" for name, variant in bundle.manifest.variants.items()]
    key += [precision, str(missing)]
    if (remembered := _choice(recall("choices", key))) is not None:
        return remembered
    candidates = [one for one in _CANDIDATES if backend in ("auto", one[0]) and precision in ("auto", one[1])]
    rates, notes = _measured(bundle, device, threads, candidates, missing, precision == "auto", timed, seconds, told)
    if not rates:
        reasons = "; ".join(notes) or f"`auto` knows no backend {backend}; name a precision"
        raise BackendUnavailable(f"nothing on this host runs bundle {bundle.label}: {reasons}")
    first, best = next(iter(rates)), max(rates, key=lambda candidate: rates[candidate])
    taken = best if rates[best] >= LEAST_GAIN * rates[first] else first
    others = [
        f"{name} {precision} {rate:,.0f}" for (name, precision), rate in rates.items() if (name, precision) != taken
    ]
    shown = f"{taken[0]} {taken[1]}, {rates[taken]:,.0f} windows/s"
    choice = Choice(*taken, "; ".join([shown, ", ".join(others) or "nothing else runs it", *notes]))
    remember("choices", key, {"backend": choice.backend, "precision": choice.precision, "why": choice.why})
    return choice


def _measured(
    bundle: Bundle,
    device: str,
    threads: int | None,
    candidates: list[tuple[str, Precision]],
    missing: str | None,
    judged_only: bool,
    timed: Callable[[Engine, float], float] | None,
    seconds: float,
    told: Told | None,
) -> tuple[dict[tuple[str, Precision], float], list[str]]:
    """Return windows per second of every candidate that runs, and why the others do not."""
    rates: dict[tuple[str, Precision], float] = {}
    notes = [f"tensorrt: {missing}"] if missing else []
    for name, precision in candidates:
        if name == "tensorrt" and missing:
            continue
        label = f"{name} {precision}"
        if judged_only and (reason := _unfit(bundle, precision)) is not None:
            notes.append(f"{label}: {reason}")
            continue
        try:
            engine = open_engine(bundle, name, device, threads=threads, precision=precision, told=told)
        except EngineError as error:
            notes.append(f"{label}: {error}")
            continue
        try:
            rates[name, precision] = (timed or windows_per_second)(engine, seconds)
        finally:
            engine.close()
    return rates, notes


def _unfit(bundle: Bundle, precision: Precision) -> str | None:
    if precision != "int8":
        return None
    variant = bundle.manifest.variants.get("int8")
    if variant is None:
        return "the bundle has no such variant"
    return None if variant.judged else "its events were never judged"


def windows_per_second(engine: Engine, seconds: float) -> float:
    """Return the rate at which frames are encoded and a window is embedded for each, by the best of three rounds."""
    info, random = engine.info, np.random.default_rng(0)
    images = random.integers(0, 256, (_BATCH, info.height, info.width, 3), np.uint8)
    order = (np.arange(_BATCH)[:, None] + np.arange(info.frames)) % _BATCH
    best = 0.0
    for _ in range(3):
        began, done = time.perf_counter(), 0
        while not done or time.perf_counter() - began < seconds / 3:
            engine.embed(engine.encode(images)[0][order])
            done += _BATCH
        best = max(best, done / (time.perf_counter() - began))
    return best


def _choice(data: object) -> Choice | None:
    if not isinstance(data, dict):
        return None
    backend, precision, why = (data.get(name) for name in ("backend", "precision", "why"))
    known = backend in BACKENDS and precision in get_args(Precision) and isinstance(why, str)
    return Choice(str(backend), precision, why) if known else None  # type: ignore[arg-type]


def _version(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"
