"""ONNX Runtime on the CPU: the backend that runs everywhere, and the one that embeds texts."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from engines.backends.network import SIGNATURES, Network, NetworkEngine, Precision, engine_info, thread_count
from engines.backends.tile_proof import proven_sizes
from engines.backends.tiles import Answer, Answers, Rows, Tile, aligned, cut, fill
from engines.bundle.files import Bundle
from engines.contract import Engine
from engines.errors import BackendUnavailable, BundleError


def open(bundle: Bundle, device: str = "auto", *, threads: int | None = None, precision: Precision = "fp32") -> Engine:
    """Load the bundle's networks into ONNX Runtime.

    Raises BackendUnavailable for another device than the CPU or another precision than fp32, BundleError for a network
    that does not load.
    """
    if device not in ("CPU", "auto"):
        raise BackendUnavailable(f"the ONNX Runtime backend runs on CPU only, not on {device}; use the device CPU")
    if precision != "fp32":
        raise BackendUnavailable(f"the ONNX Runtime backend runs fp32 only, not {precision}; use fp32 or OpenVINO")
    networks = {name: open_network(bundle, name, threads) for name in bundle.manifest.network_names}
    info = engine_info(bundle, precision=precision, backend="onnxruntime", device="CPU")
    return NetworkEngine(info, networks.get("image.onnx"), networks.get("head.onnx") or networks["clip.onnx"])


def open_network(bundle: Bundle, name: str, threads: int | None = None) -> Network:
    """Load one network of the bundle, such as `text.onnx`. Raises BundleError where it does not load."""
    source, targets = SIGNATURES[name]
    content = bundle.read(name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base but Exception
        raise BundleError(f"{bundle.path / name} does not load in ONNX Runtime: {error}; export it again") from error
    inputs = [part.name for part in session.get_inputs()]
    outputs = {part.name for part in session.get_outputs()}
    if inputs != [source] or not outputs.issuperset(targets):
        raise BundleError(
            f"{bundle.path / name} takes {inputs} and gives {sorted(outputs)}, expected {source} -> {list(targets)}; "
            "export it again"
        )

    def answer_at(_: int) -> Answer:
        def answer(rows: Rows) -> Answers:
            content = aligned(rows.shape, rows.dtype)
            content[:] = rows
            return tuple(session.run(list(targets), {source: content}))

        return answer

    key = (onnxruntime.__version__, "CPU", "fp32", hashlib.sha256(content).hexdigest())
    try:
        sizes = proven_sizes(key, content, answer_at, bundle, name)
    except BundleError:
        raise
    except Exception as error:  # as above
        raise BundleError(f"{bundle.path / name} does not run in ONNX Runtime: {error}; export it again") from error
    return _Network(session, source, targets, sizes, thread_count(threads))


class _Network:
    """One single-threaded session, called from several threads at once."""

    def __init__(
        self, session: Any, source: str, targets: tuple[str, ...], sizes: tuple[int, ...], threads: int
    ) -> None:
        self._session = session
        self._source = source
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
        # Every tile starts at an aligned address, as those of the proof did.
        content = aligned((tile.size, *rows.shape[1:]), rows.dtype)
        fill(content, rows, tile)
        return [part[: tile.count] for part in self._session.run(self._targets, {self._source: content})]
