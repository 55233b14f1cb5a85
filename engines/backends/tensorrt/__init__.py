"""TensorRT 11 on NVIDIA GPUs: plans built on the host that runs them, kept in its cache, proven before they are used.

Parsed and built in every test run, with TensorRT for RTX, which needs no GPU; executed only where there is one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from engines.backends.network import NetworkEngine, Precision, engine_info, signature
from engines.backends.tensorrt.builder import PlanSettings, collecting_log
from engines.backends.tensorrt.cuda import Cuda, device_index, open_cuda
from engines.backends.tensorrt.library import Library, load_library
from engines.backends.tensorrt.plans import BUCKETS, network_file, plan, plan_inputs, refuse
from engines.backends.tensorrt.runner import Runner
from engines.backends.tile_proof import known_rows
from engines.backends.tiles import PROOF_ROWS, agreeing, proof_rows
from engines.build_cache.build_lock import Told
from engines.bundle.files import Bundle
from engines.contract import Engine
from engines.errors import BackendUnavailable, BundleError

log = logging.getLogger(__name__)


def unavailable(device: str = "auto") -> str | None:
    """Return why TensorRT cannot run on this host: what is missing, and the remedy. None where it can."""
    try:
        load_library()
        open_cuda(device_index(device)).close()
    except BackendUnavailable as error:
        return str(error)
    return None


def open(
    bundle: Bundle,
    device: str = "auto",
    *,
    threads: int | None = None,
    precision: Precision = "fp32",
    buckets: Sequence[int] = BUCKETS,
    told: Told = lambda what, done: None,
) -> Engine:
    """Load the bundle's networks on a GPU; plans that this host does not have yet are built first, which takes minutes.

    device: `auto` or the number of a GPU. threads: not used. buckets: batch sizes that get a plan of their own. A size
    at which a row's answer depends on its mates is dropped; where none is left, all are used,
    `EngineInfo.batch_invariant` is False, and the log says so. Raises BackendUnavailable that says whether the
    library, the driver or the device is missing, BuildFailed, BuildCacheError, CudaError.
    """
    index = device_index(device)
    library = load_library()
    cuda = open_cuda(index)
    return open_with(library, cuda, bundle, index, precision=precision, buckets=buckets, told=told)


@dataclass(frozen=True, slots=True)
class _OnDevice(NetworkEngine):
    """An engine that lets go of its device once its networks are closed."""

    cuda: Cuda

    def close(self) -> None:
        """See `engines.contract.Engine.close`."""
        NetworkEngine.close(self)
        self.cuda.close()


def open_with(
    library: Library,
    cuda: Cuda,
    bundle: Bundle,
    index: int,
    *,
    precision: Precision = "fp32",
    buckets: Sequence[int] = BUCKETS,
    told: Told = lambda what, done: None,
) -> Engine:
    """Load the bundle's networks through this library and this seam, which belongs to the engine from now on."""
    with ExitStack() as unless_open:
        unless_open.callback(cuda.close)
        facts = cuda.facts()
        networks: dict[str, Runner] = {}
        independent = []
        for name in bundle.manifest.network_names:
            plans = _plans(library, cuda, bundle, name, precision, buckets, told)
            (source,), targets = signature(bundle.manifest, name)
            networks[name] = runner = Runner(library.module, cuda, plans, source, targets)
            unless_open.callback(runner.close)
            independent.append(_prove(runner, bundle, name))
        unless_open.pop_all()
    shown = f"cuda:{index} {facts.name} ({library.name}, {cuda.name})"
    info = replace(
        engine_info(bundle, precision=precision, backend="tensorrt", device=shown), batch_invariant=all(independent)
    )
    return _OnDevice(info, networks.get("image.onnx"), networks.get("head.onnx") or networks["clip.onnx"], cuda)


def _plans(
    library: Library,
    cuda: Cuda,
    bundle: Bundle,
    name: str,
    precision: Precision,
    buckets: Sequence[int],
    told: Told,
) -> dict[int, Any]:
    """Return the deserialised plan for every batch size. One that the runtime refuses is built once more."""
    settings, facts = PlanSettings(), cuda.facts()
    content = network_file(bundle, name, precision)
    logged = collecting_log(library.module)
    runtime = library.module.Runtime(logged)
    plans = {}
    with cuda.entered():
        for rows in sorted(set(buckets)):
            inputs = plan_inputs(name, content, rows, library, facts, settings)
            loaded = runtime.deserialize_cuda_engine(plan(library, inputs, content, settings, told))
            if loaded is None:
                told(f"{library} does not take the plan of {name} that this host has; it is built again", 0.0)
                refuse(inputs)
                loaded = runtime.deserialize_cuda_engine(plan(library, inputs, content, settings, told))
            if loaded is None:
                raise BackendUnavailable(
                    f"{library} does not load on {facts} what it built of {name}: {logged.last()}; install the "
                    "TensorRT that this device needs, or let the backend be openvino"
                )
            _check_names(bundle, name, loaded)
            plans[rows] = loaded
    return plans


def _check_names(bundle: Bundle, name: str, plan: Any) -> None:
    (source,), targets = signature(bundle.manifest, name)
    found = {plan.get_tensor_name(index) for index in range(plan.num_io_tensors)}
    if not found.issuperset((source, *targets)):
        raise BundleError(
            f"{bundle.path / name} has inputs and outputs {sorted(found)}, expected {source} -> {list(targets)}; "
            "export it again"
        )


def _prove(runner: Runner, bundle: Bundle, name: str) -> bool:
    """Keep the sizes that give a row the same bits in every position, among any mates; say so where there are none."""
    known = known_rows(bundle, name)
    if known is None:
        return True
    rows = proof_rows(known, max(PROOF_ROWS, *runner.sizes))
    if kept := agreeing({size: runner.answer_at(size) for size in runner.sizes}, rows):
        runner.keep(kept)
        return True
    log.warning(
        "%s of bundle %s: on this GPU the last bits of an answer depend on its batch, at every batch size; replay may "
        "differ from live within the bundle's tolerance",
        name,
        bundle.label,
    )
    return False
