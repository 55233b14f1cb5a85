"""ONNX Runtime: the backend that runs everywhere, and the one that embeds texts; on a GPU where its CUDA provider is.

The provider comes with the package `onnxruntime-gpu`, which takes the place of `onnxruntime`. It has NOT YET RUN
anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime

from engines.backends.network import Network, NetworkEngine, Precision, engine_info, signature, thread_count
from engines.backends.rows import inputs_of
from engines.backends.tile_proof import proven_sizes
from engines.backends.tiles import Answer, Answers, Rows, Tile, aligned, cut, fill
from engines.bundle.files import Bundle
from engines.contract import Engine
from engines.errors import BackendUnavailable, BundleError

Provider: TypeAlias = tuple[str, dict[str, str]]
"""Name and options of an execution provider."""

VERSION: str = onnxruntime.__version__

_CUDA = "CUDAExecutionProvider"
_CPU: Provider = ("CPUExecutionProvider", {})


def open(bundle: Bundle, device: str = "auto", *, threads: int | None = None, precision: Precision = "fp32") -> Engine:
    """Load the bundle's networks into ONNX Runtime.

    device: `auto` is the CPU; cuda:N is a GPU. Raises BackendUnavailable for another device or one that this package
    has no provider for, and for another precision than fp32; BundleError for a network that does not load.
    """
    device = "CPU" if device == "auto" else device
    provider = _provider(device)
    if precision != "fp32":
        raise BackendUnavailable(f"the ONNX Runtime backend runs fp32 only, not {precision}; use fp32 or OpenVINO")
    networks = {name: open_network(bundle, name, threads, provider) for name in bundle.manifest.network_names}
    info = engine_info(bundle, precision=precision, backend="onnxruntime", device=device)
    return NetworkEngine(info, networks.get("image.onnx"), networks.get("head.onnx") or networks["clip.onnx"])


def _provider(device: str) -> Provider:
    """Return the execution provider of a device, and its options. Raises BackendUnavailable."""
    if device == "CPU":
        return _CPU
    kind, _, index = device.lower().partition(":")
    if kind != "cuda" or not index.isascii() or not index.isdigit():
        raise BackendUnavailable(f"the ONNX Runtime backend runs on CPU or cuda:N, not on {device}; use the device CPU")
    if _CUDA not in onnxruntime.get_available_providers():
        raise BackendUnavailable(
            f"this ONNX Runtime has no CUDA provider for {device}; pip install onnxruntime-gpu in place of onnxruntime "
            "(uninstall that first), or use the device CPU"
        )
    return _CUDA, {"device_id": index, "use_tf32": "0"}  # with TF32, float32 would not be float32


def open_network(bundle: Bundle, name: str, threads: int | None = None, provider: Provider = _CPU) -> Network:
    """Load one network of the bundle, such as `text.onnx`.

    Raises BundleError where it does not load, BackendUnavailable where the provider does not start.
    """
    sources, targets = signature(bundle.manifest, name)
    content = bundle.read(name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=[provider])
    except Exception as error:  # its errors share no base but Exception
        raise BundleError(f"{bundle.path / name} does not load in ONNX Runtime: {error}; export it again") from error
    if (started := session.get_providers()[0]) != provider[0]:  # it falls back to the CPU without a word
        raise BackendUnavailable(
            f"ONNX Runtime runs {name} with {started} and not with {provider[0]}: its libraries or the NVIDIA driver "
            "do not load; see nvidia-smi, or use the device CPU"
        )
    inputs = {part.name for part in session.get_inputs()}
    outputs = {part.name for part in session.get_outputs()}
    if inputs != set(sources) or not outputs.issuperset(targets):
        raise BundleError(
            f"{bundle.path / name} takes {sorted(inputs)} and gives {sorted(outputs)}, expected {list(sources)} -> "
            f"{list(targets)}; export it again"
        )

    def answer_at(_: int) -> Answer:
        def answer(rows: Rows) -> Answers:
            whole = Tile(0, len(rows), len(rows))
            return tuple(session.run(list(targets), _fed(rows, whole, sources)))

        return answer

    where = "CPU" if provider == _CPU else str(provider)
    key = (VERSION, where, "fp32", hashlib.sha256(content).hexdigest())
    try:
        sizes = proven_sizes(key, content, answer_at, bundle, name)
    except BundleError:
        raise
    except Exception as error:  # as above
        raise BundleError(f"{bundle.path / name} does not run in ONNX Runtime: {error}; export it again") from error
    return _Network(session, sources, targets, sizes, thread_count(threads))


def _fed(rows: Rows, tile: Tile, sources: Sequence[str]) -> dict[str, Rows]:
    """The inputs of one tile. Every one starts at an aligned address, in the proof as afterwards."""
    fed = {}
    for name, part in inputs_of(rows, sources).items():
        fed[name] = aligned((tile.size, *part.shape[1:]), part.dtype)
        fill(fed[name], part, tile)
    return fed


class _Network:
    """One single-threaded session, called from several threads at once."""

    def __init__(
        self, session: Any, sources: tuple[str, ...], targets: tuple[str, ...], sizes: tuple[int, ...], threads: int
    ) -> None:
        self._session = session
        self._sources = sources
        self._targets = list(targets)
        self._sizes = sizes
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "onnxruntime") if threads > 1 else None

    @property
    def sizes(self) -> tuple[int, ...]:
        """See `engines.backends.network.Network.sizes`."""
        return self._sizes

    def run(self, rows: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], ...]:
        """See `engines.backends.network.Network.run`."""
        tiles = cut(len(rows), self._sizes, self._threads)
        run = self._pool.map if self._pool else map
        answers = list(run(lambda tile: self._run_tile(rows, tile), tiles))
        return tuple(np.concatenate(parts) for parts in zip(*answers, strict=True))

    def close(self) -> None:
        """Release the session and its threads."""
        if self._pool:
            self._pool.shutdown()
        self._session = None

    def _run_tile(self, rows: npt.NDArray[Any], tile: Tile) -> list[npt.NDArray[np.float32]]:
        answers = self._session.run(self._targets, _fed(rows, tile, self._sources))
        return [part[: tile.count] for part in answers]
