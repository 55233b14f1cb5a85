"""Plans of a bundle's networks: from the cache of this host, or built into it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict

from engines.backends.network import Precision
from engines.backends.tensorrt import builder, timing_cache
from engines.backends.tensorrt.builder import PlanSettings
from engines.backends.tensorrt.cuda import DeviceFacts
from engines.backends.tensorrt.library import Library
from engines.backends.tensorrt.typed import with_precision
from engines.build_cache.build_lock import Told
from engines.build_cache.built import built, reject
from engines.build_cache.entries import BuildInputs, build_folder
from engines.bundle.files import Bundle
from engines.bundle.manifest import variant_file
from engines.errors import BackendUnavailable, BuildFailed

BUCKETS = (1, 4, 16, 64)
"""Batch sizes that get a plan; a batch between two of them is padded."""
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")
NO_DEVICE = "no device"


def network_file(bundle: Bundle, name: str, precision: Precision) -> bytes:
    """Return the ONNX file of a network in the given precision.

    Raises BackendUnavailable for a precision that the bundle lacks or nobody knows and for a bundle with memory,
    TamperedBundle.
    """
    if bundle.manifest.memory is not None:
        raise BackendUnavailable(
            f"the TensorRT backend carries no memory from frame to frame, and bundle {bundle.label} has one; choose "
            "openvino or onnxruntime"
        )
    if precision not in PRECISIONS:
        raise BackendUnavailable(f"the TensorRT backend does not run {precision}; choose {', '.join(PRECISIONS)}")
    if precision != "int8":
        return with_precision(bundle.read(name), precision)
    if "int8" not in bundle.manifest.variants:
        raise BackendUnavailable(
            f"bundle {bundle.label} has no int8 variant; make one with `actionwire-engines quantise`, or choose fp32"
        )
    return bundle.read(variant_file(name))


def plan_inputs(
    name: str, content: bytes, rows: int, library: Library, facts: DeviceFacts | None, settings: PlanSettings
) -> BuildInputs:
    """Return what decides a plan. facts: None where there is no device to build for."""
    return BuildInputs(
        network=name,
        sha256=hashlib.sha256(content).hexdigest(),
        runtime=str(library),
        device=str(facts or NO_DEVICE),
        settings=asdict(settings) | {"rows": rows},
        builder=builder.VERSION,
    )


def plan(library: Library, inputs: BuildInputs, content: bytes, settings: PlanSettings, told: Told) -> bytes:
    """Return the plan of one network at one batch size, built now where the cache has none.

    Raises BuildFailed, which names the network, and BuildCacheError.
    """

    rows = int(inputs.settings["rows"])

    def make(tell: Told) -> bytes:
        known = timing_cache.recall(str(library), inputs.device)
        try:
            made = builder.build_plan(library.module, content, rows, tell, settings=settings, timing_cache=known)
        except BuildFailed as error:
            raise BuildFailed(
                f"{inputs.network}: {error}; export the bundle again, or let the backend be openvino"
            ) from error
        if made.timing_cache and made.timing_cache != known:
            timing_cache.remember(str(library), inputs.device, made.timing_cache)
        return made.content

    where = f"{inputs.network}, batches of {rows}"
    return built(build_folder(), inputs, make, told=lambda what, done: told(f"{where}: {what}", done))


def refuse(inputs: BuildInputs) -> None:
    """Set a plan aside that the runtime does not take, though it is whole."""
    reject(build_folder(), inputs)
