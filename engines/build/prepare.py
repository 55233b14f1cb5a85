"""`actionwire-engines build`: everything that the first start of a worker would wait for, done now.

For TensorRT that is a plan per network and batch size; for the CPU runtimes the proof of which batch sizes may be
mixed. The engine is opened as a worker opens it, and must answer the golden probe.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engines.backends import open_engine, tensorrt
from engines.backends.network import NetworkEngine, Precision
from engines.backends.tensorrt.builder import PlanSettings
from engines.backends.tensorrt.cuda import DeviceFacts, device_index, open_cuda
from engines.backends.tensorrt.library import Library, load_library
from engines.backends.tensorrt.plans import BUCKETS, network_file, plan, plan_inputs
from engines.build_cache.build_lock import Told
from engines.build_cache.entries import build_folder, described
from engines.bundle.files import Bundle
from engines.errors import BackendUnavailable
from engines.probe import probe

BUILDS_WITHOUT_DEVICE = "tensorrt_rtx"
"""TensorRT for RTX compiles for the device when it loads a plan; the full one measures on the device as it builds."""


@dataclass(frozen=True, slots=True)
class PlanEntry:
    """One plan in the cache of this host."""

    network: str
    rows: int
    bytes: int
    seconds: float
    """What building it took, now or before."""
    path: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is there for the next start."""

    bundle: str
    backend: str
    precision: str
    device: str
    executed: bool
    """Whether the engine ran and answered the golden probe; False where there was no device to run it on."""
    batch_invariant: bool | None
    """None where nothing ran."""
    sizes: dict[str, tuple[int, ...]]
    """Batch sizes that may be mixed, by network; empty where nothing ran."""
    plans: tuple[PlanEntry, ...]
    seconds: float

    def data(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)

    def text(self) -> str:
        """Return it as lines for a terminal."""
        lines = [
            f"{one.network} for batches of {one.rows}: "
            f"{one.bytes / 2**20:.1f} MiB, built in {one.seconds:.1f} s, {one.path}"
            for one in self.plans
        ]
        for name, sizes in self.sizes.items():
            lines.append(f"{name}: a row's answer is the same in batches of {', '.join(map(str, sizes))}")
        if self.batch_invariant is False:
            lines.append("an answer depends on its batch here: replay may differ from live in the last digits")
        state = f"ready on {self.device}" if self.executed else "built, NOT run: there is no device here"
        lines.append(f"{self.bundle} with {self.backend} {self.precision}: {state}, {self.seconds:.1f} s")
        return "\n".join(lines)


def prepare(
    bundle: Bundle,
    backend: str = "auto",
    device: str = "auto",
    *,
    precision: Precision = "fp32",
    buckets: Sequence[int] = BUCKETS,
    told: Told = lambda what, done: None,
) -> Prepared:
    """Build and prove what a worker with these settings would, and return what is there now.

    backend: a name; `auto` for the first that opens. buckets: batch sizes of TensorRT's plans. Without any device
    TensorRT
    for RTX builds all the same, for nobody to run: that shows that the bundle can become plans.
    Raises what opening the engine raises.
    """
    began = time.monotonic()
    if backend == "tensorrt":
        return _plans(bundle, device, precision, tuple(sorted(set(buckets))), told, began)
    told(f"opening {bundle.label}", 0.0)
    engine = open_engine(bundle, backend, device, precision=precision)
    try:
        info = engine.info
        return Prepared(
            bundle=bundle.label,
            backend=info.backend,
            precision=info.precision,
            device=info.device,
            executed=True,
            batch_invariant=info.batch_invariant,
            sizes=_sizes(bundle, engine),
            plans=(),
            seconds=time.monotonic() - began,
        )
    finally:
        engine.close()


def _plans(
    bundle: Bundle, device: str, precision: Precision, buckets: tuple[int, ...], told: Told, began: float
) -> Prepared:
    library, index = load_library(), device_index(device)
    try:
        cuda = open_cuda(index)
    except BackendUnavailable:
        if library.name != BUILDS_WITHOUT_DEVICE or device != "auto":
            raise
        for name in bundle.manifest.network_names:
            content = network_file(bundle, name, precision)
            for rows in buckets:
                inputs = plan_inputs(name, content, rows, library, None, PlanSettings())
                plan(library, inputs, content, PlanSettings(), told)
        entries = _entries(bundle, library, None, precision, buckets)
        spent = time.monotonic() - began
        return Prepared(bundle.label, str(library), precision, "no device", False, None, {}, entries, spent)
    facts = cuda.facts()
    engine = tensorrt.open_with(library, cuda, bundle, index, precision=precision, buckets=buckets, told=told)
    try:
        probe(engine, bundle)
        return Prepared(
            bundle=bundle.label,
            backend=str(library),
            precision=precision,
            device=engine.info.device,
            executed=True,
            batch_invariant=engine.info.batch_invariant,
            sizes=_sizes(bundle, engine) if engine.info.batch_invariant else {},
            plans=_entries(bundle, library, facts, precision, buckets),
            seconds=time.monotonic() - began,
        )
    finally:
        engine.close()


def _entries(
    bundle: Bundle, library: Library, facts: DeviceFacts | None, precision: Precision, buckets: Sequence[int]
) -> tuple[PlanEntry, ...]:
    """Return what the cache says of the plans; those that it could not keep are missing."""
    found = []
    for name in bundle.manifest.network_names:
        content = network_file(bundle, name, precision)
        for rows in buckets:
            inputs = plan_inputs(name, content, rows, library, facts, PlanSettings())
            if said := described(build_folder(), inputs):
                path = str(build_folder() / inputs.key)
                found.append(PlanEntry(name, rows, int(said["bytes"]), float(said["seconds"]), path))
    return tuple(found)


def _sizes(bundle: Bundle, engine: object) -> dict[str, tuple[int, ...]]:
    assert isinstance(engine, NetworkEngine)
    networks = dict(zip(bundle.manifest.network_names, filter(None, (engine.image, engine.head)), strict=True))
    return {name: network.sizes for name, network in networks.items()}
