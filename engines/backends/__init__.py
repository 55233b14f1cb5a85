"""Inference runtimes: each turns a bundle into an engine, and is imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from engines.backends.network import Precision
from engines.build_cache.build_lock import Told
from engines.bundle.files import Bundle
from engines.contract import Engine
from engines.errors import BackendUnavailable
from engines.probe import probe

BACKENDS: Mapping[str, str] = {
    "openvino": "engines.backends.ov",
    "onnxruntime": "engines.backends.ort",
    "tensorrt": "engines.backends.tensorrt",
}
"""Name -> module with `open(bundle, device, *, threads, precision) -> Engine`, in the order that `auto` tries them.

Which of them is fastest is measured by `engines.build.choose`."""

BUILDING = ("tensorrt",)
"""Those that may build for minutes before they open, and tell of it."""


def open_engine(
    bundle: Bundle,
    backend: str = "auto",
    device: str = "auto",
    *,
    threads: int | None = None,
    precision: Precision = "fp32",
    told: Told | None = None,
) -> Engine:
    """Load the bundle into a runtime, run the golden probe and return the engine, warm.

    backend: a name of `BACKENDS`, or `auto` for the first one available. device: by the runtime's own name; `auto` is
    the CPU, and for TensorRT the first GPU. threads: rows run at once, by default the CPUs that this process may use.
    told: hears what is built, how much of it is done, and for whom this process waits.
    Raises BackendUnavailable when the runtime is missing or lacks the device or precision, ProbeFailed when its
    outputs differ from the golden probe, BundleError for a network that it cannot load.
    """
    names = tuple(BACKENDS) if backend == "auto" else (backend,)
    reasons = []
    for name in names:
        try:
            engine = _open(name, bundle, device, threads, precision, told)
        except BackendUnavailable as error:
            reasons.append(error)
            continue
        try:
            probe(engine, bundle)
        except BaseException:
            engine.close()
            raise
        return engine
    if len(reasons) == 1:
        raise reasons[0]
    raise BackendUnavailable(f"no backend can run bundle {bundle.label}: {'; '.join(map(str, reasons))}")


def _open(
    name: str, bundle: Bundle, device: str, threads: int | None, precision: Precision, told: Told | None
) -> Engine:
    if name not in BACKENDS:
        raise BackendUnavailable(f"no backend is called {name}; choose auto, {', '.join(BACKENDS)}")
    try:
        module = importlib.import_module(BACKENDS[name])
    except ImportError as error:
        raise BackendUnavailable(f"{name} is not installed or does not load ({error}); pip install {name}") from error
    more = {"told": told} if told and name in BUILDING else {}
    engine: Engine = module.open(bundle, device, threads=threads, precision=precision, **more)
    return engine
