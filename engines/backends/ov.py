"""OpenVINO, the fastest CPU runtime for fp32 and bf16 here.

The precision is always named, because OpenVINO's own default is bf16 wherever the CPU has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import openvino

from engines.backends.network import SIGNATURES, NetworkEngine, Precision, engine_info, thread_count
from engines.bundle.files import Bundle
from engines.contract import Engine
from engines.errors import BackendUnavailable, BundleError

_HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def open(bundle: Bundle, device: str = "CPU", *, threads: int | None = None, precision: Precision = "fp32") -> Engine:
    """Load the bundle's networks on an OpenVINO device (`CPU`, or another that OpenVINO lists).

    Raises BackendUnavailable for an unknown device or a precision that it does not run, BundleError for a network that
    does not compile.
    """
    core = openvino.Core()
    available = core.available_devices
    if device.split(".")[0] not in {name.split(".")[0] for name in available}:
        raise BackendUnavailable(f"OpenVINO has no device {device}; it has {', '.join(available)}: use one of these")
    if precision not in _HINTS:
        raise BackendUnavailable(f"the OpenVINO backend does not run {precision}; choose {', '.join(_HINTS)}")
    networks = {
        name: _network(core, bundle, name, device, thread_count(threads), precision)
        for name in bundle.manifest.network_names
    }
    info = engine_info(bundle, precision=precision, backend="openvino", device=device)
    return NetworkEngine(info, networks.get("image.onnx"), networks.get("head.onnx") or networks["clip.onnx"])


class _Network:
    """One compiled network, with one request per stream and one row in flight in each."""

    def __init__(self, compiled: Any, source: str, targets: tuple[str, ...], streams: int) -> None:
        self._requests = [compiled.create_infer_request() for _ in range(streams)]
        self._source = source
        self._targets = targets

    def run(self, rows: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], ...]:
        """See `engines.backends.network.Network.run`."""
        answers: list[list[npt.NDArray[np.float32]]] = [[] for _ in rows]
        streams = len(self._requests)
        for index in range(len(rows) + streams):
            request = self._requests[index % streams]
            if 0 <= index - streams < len(rows):
                request.wait()
                answers[index - streams] = [request.get_tensor(name).data.copy() for name in self._targets]
            if index < len(rows):
                request.get_tensor(self._source).data[0] = rows[index]
                request.start_async()
        return tuple(np.concatenate(parts) for parts in zip(*answers, strict=True))

    def close(self) -> None:
        """Release the requests, and with them the network."""
        self._requests.clear()


def _network(core: Any, bundle: Bundle, name: str, device: str, threads: int, precision: Precision) -> _Network:
    source, targets = SIGNATURES[name]
    settings = {"INFERENCE_PRECISION_HINT": _HINTS[precision]}
    if device == "CPU":
        # Pinned threads of two workers on one host would share some cores and leave others idle.
        settings |= {"NUM_STREAMS": str(threads), "INFERENCE_NUM_THREADS": str(threads), "ENABLE_CPU_PINNING": "NO"}
    model = read_model(core, bundle, name)
    try:
        compiled = core.compile_model(model, device, settings)
    except RuntimeError as error:
        raise BundleError(f"{bundle.path / name} does not compile in OpenVINO: {error}; export it again") from error
    if (used := compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()) != _HINTS[precision]:
        raise BackendUnavailable(f"{device} does not run {precision} (OpenVINO chose {used}); choose fp32")
    return _Network(compiled, source, targets, threads if device == "CPU" else 1)


def read_model(core: Any, bundle: Bundle, name: str) -> Any:
    """Read a network, check its inputs and outputs, and reshape it to one row."""
    source, targets = SIGNATURES[name]
    content = bundle.read(name)
    try:
        model = core.read_model(content)
        for target in targets:
            model.output(target)
        shape = model.input(source).partial_shape
        shape[0] = 1
        model.reshape({source: shape})
    except RuntimeError as error:
        where = bundle.path / name
        raise BundleError(
            f"{where} is not a network {source} -> {list(targets)} that OpenVINO reads: {error}; export it again"
        ) from error
    return model
