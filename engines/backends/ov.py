"""OpenVINO, the fastest CPU runtime for fp32 and bf16 here.

The precision is always named, because OpenVINO's own default is bf16 wherever the CPU has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino

from engines.backends.network import NetworkEngine, Precision, engine_info, signature, thread_count
from engines.backends.rows import inputs_of
from engines.backends.tile_proof import proven_sizes
from engines.backends.tiles import Answer, Answers, Rows, Tile, cut, fill
from engines.bundle.files import Bundle
from engines.bundle.manifest import variant_file
from engines.contract import Engine
from engines.errors import BackendUnavailable, BundleError

_HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
"""What is computed in where nothing is quantised; an int8 network says itself what is."""


def open(
    bundle: Bundle,
    device: str = "auto",
    *,
    threads: int | None = None,
    precision: Precision = "fp32",
    tiles: tuple[int, ...] | None = None,
) -> Engine:
    """Load the bundle's networks on an OpenVINO device (`CPU`, or another that OpenVINO lists).

    tiles: sizes to run at without a proof, such as (1,) for row by row, which benchmarks compare with.
    Raises BackendUnavailable for an unknown device or a precision that it does not run, BundleError for a network that
    does not compile.
    """
    device = "CPU" if device == "auto" else device
    core = openvino.Core()
    available = core.available_devices
    if device.split(".")[0] not in {name.split(".")[0] for name in available}:
        raise BackendUnavailable(f"OpenVINO has no device {device}; it has {', '.join(available)}: use one of these")
    if precision not in _HINTS:
        raise BackendUnavailable(f"the OpenVINO backend does not run {precision}; choose {', '.join(_HINTS)}")
    if precision == "int8" and "int8" not in bundle.manifest.variants:
        raise BackendUnavailable(
            f"bundle {bundle.label} has no int8 variant; make one with `actionwire-engines quantise`, or choose fp32"
        )
    networks = {
        name: _network(core, bundle, name, device, thread_count(threads), precision, tiles)
        for name in bundle.manifest.network_names
    }
    info = engine_info(bundle, precision=precision, backend="openvino", device=device)
    return NetworkEngine(info, networks.get("image.onnx"), networks.get("head.onnx") or networks["clip.onnx"])


class _Network:
    """One network compiled at each size of its tiles, with one request per stream and one tile in flight in each."""

    def __init__(
        self, compiled: Mapping[int, Any], sources: tuple[str, ...], targets: tuple[str, ...], streams: int
    ) -> None:
        self._requests = {
            size: [model.create_infer_request() for _ in range(streams)] for size, model in compiled.items()
        }
        self._sizes = tuple(compiled)
        self._sources = sources
        self._targets = targets
        self._streams = streams

    @property
    def sizes(self) -> tuple[int, ...]:
        """See `engines.backends.network.Network.sizes`."""
        return self._sizes

    def run(self, rows: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], ...]:
        """See `engines.backends.network.Network.run`."""
        tiles = cut(len(rows), self._sizes, self._streams)
        answers: list[list[npt.NDArray[np.float32]]] = [[] for _ in tiles]
        for index in range(len(tiles) + self._streams):
            if 0 <= (done := index - self._streams) < len(tiles):
                request = self._request(tiles[done], done)
                request.wait()
                count = tiles[done].count
                answers[done] = [request.get_tensor(name).data[:count].copy() for name in self._targets]
            if index < len(tiles):
                request = self._request(tiles[index], index)
                for name, part in inputs_of(rows, self._sources).items():
                    fill(request.get_tensor(name).data, part, tiles[index])
                request.start_async()
        return tuple(np.concatenate(parts) for parts in zip(*answers, strict=True))

    def close(self) -> None:
        """Release the requests, and with them the network."""
        self._requests.clear()

    def _request(self, tile: Tile, index: int) -> Any:
        return self._requests[tile.size][index % self._streams]


def _network(
    core: Any,
    bundle: Bundle,
    name: str,
    device: str,
    threads: int,
    precision: Precision,
    tiles: tuple[int, ...] | None,
) -> _Network:
    sources, targets = signature(bundle.manifest, name)
    settings = {"INFERENCE_PRECISION_HINT": _HINTS[precision]}
    if device == "CPU":
        # Pinned threads of two workers on one host would share some cores and leave others idle.
        settings |= {"NUM_STREAMS": str(threads), "INFERENCE_NUM_THREADS": str(threads), "ENABLE_CPU_PINNING": "NO"}
    content = bundle.read(variant_file(name) if precision == "int8" else name)
    compiled: dict[int, Any] = {}

    def answer_at(size: int) -> Answer:
        if size not in compiled:
            compiled[size] = _compile(
                core, read_model(core, bundle, name, content, size), bundle, name, device, settings
            )
        request = compiled[size].create_infer_request()

        def answer(rows: Rows) -> Answers:
            for source, part in inputs_of(rows, sources).items():
                request.get_tensor(source).data[:] = part
            request.infer()
            return tuple(request.get_tensor(target).data.copy() for target in targets)

        return answer

    key = (openvino.__version__, device, precision, hashlib.sha256(content).hexdigest())
    sizes = tiles or (proven_sizes(key, content, answer_at, bundle, name) if device == "CPU" else (1,))
    for size in sizes:
        answer_at(size)
    first = next(iter(compiled.values()))
    if (used := first.get_property("INFERENCE_PRECISION_HINT").get_type_name()) != _HINTS[precision]:
        raise BackendUnavailable(f"{device} does not run {precision} (OpenVINO chose {used}); choose fp32")
    return _Network({size: compiled[size] for size in sizes}, sources, targets, threads if device == "CPU" else 1)


def _compile(core: Any, model: Any, bundle: Bundle, name: str, device: str, settings: Mapping[str, str]) -> Any:
    try:
        return core.compile_model(model, device, settings)
    except RuntimeError as error:
        raise BundleError(f"{bundle.path / name} does not compile in OpenVINO: {error}; export it again") from error


def read_model(core: Any, bundle: Bundle, name: str, content: bytes | None = None, rows: int = 1) -> Any:
    """Read a network, check its inputs and outputs, and give it a fixed batch of `rows`.

    content: the file, where it was read and checked before.
    """
    sources, targets = signature(bundle.manifest, name)
    content = content or bundle.read(name)
    try:
        model = core.read_model(content)
        for target in targets:
            model.output(target)
        shapes = {source: model.input(source).partial_shape for source in sources}
        for shape in shapes.values():
            shape[0] = rows
        model.reshape(shapes)
    except RuntimeError as error:
        where = bundle.path / name
        raise BundleError(
            f"{where} is not a network {list(sources)} -> {list(targets)} that OpenVINO reads: {error}; export it again"
        ) from error
    return model
