"""ONNX Runtime on the CPU: the backend that runs everywhere, and the one that embeds texts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from engines.backends.network import SIGNATURES, Network, NetworkEngine, Precision, engine_info, thread_count
from engines.bundle.files import Bundle
from engines.contract import Engine
from engines.errors import BackendUnavailable, BundleError

_ALIGNMENT = 64


def open(bundle: Bundle, device: str = "CPU", *, threads: int | None = None, precision: Precision = "fp32") -> Engine:
    """Load the bundle's networks into ONNX Runtime.

    Raises BackendUnavailable for another device than `CPU` or another precision than fp32, BundleError for a network
    that does not load.
    """
    if device != "CPU":
        raise BackendUnavailable(f"the ONNX Runtime backend runs on CPU only, not on {device}; use the device CPU")
    if precision != "fp32":
        raise BackendUnavailable(f"the ONNX Runtime backend runs fp32 only, not {precision}; use fp32 or OpenVINO")
    networks = {name: open_network(bundle, name, threads) for name in bundle.manifest.network_names}
    info = engine_info(bundle, precision=precision, backend="onnxruntime", device=device)
    return NetworkEngine(info, networks.get("image.onnx"), networks.get("head.onnx") or networks["clip.onnx"])


def open_network(bundle: Bundle, name: str, threads: int | None = None) -> Network:
    """Load one network of the bundle, such as `text.onnx`. Raises BundleError where it does not load."""
    source, targets = SIGNATURES[name]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(bundle.read(name), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base but Exception
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{bundle.path / name} does not load in ONNX Runtime: {error}; export it again") from error
    inputs = [part.name for part in session.get_inputs()]
    outputs = {part.name for part in session.get_outputs()}
    if inputs != [source] or not outputs.issuperset(targets):
        raise BundleError(
            f"{bundle.path / name} takes {inputs} and gives {sorted(outputs)}, expected {source} -> {list(targets)}; "
            "export it again"
        )
    return _Network(session, source, targets, thread_count(threads))


class _Network:
    """One single-threaded session, called from several threads at once."""

    def __init__(self, session: Any, source: str, targets: tuple[str, ...], threads: int) -> None:
        self._session = session
        self._source = source
        self._targets = list(targets)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "onnxruntime") if threads > 1 else None

    def run(self, rows: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], ...]:
        """See `engines.backends.network.Network.run`."""
        threads = min(self._threads, len(rows))
        shares = [rows[start::threads] for start in range(threads)]
        answered = self._pool.map(self._run_share, shares) if self._pool else map(self._run_share, shares)
        answers: list[Any] = [None] * len(rows)
        for start, share in enumerate(answered):
            answers[start::threads] = share
        return tuple(np.concatenate(parts) for parts in zip(*answers, strict=True))

    def close(self) -> None:
        """Release the session and its threads."""
        if self._pool:
            self._pool.shutdown()
        self._session = None

    def _run_share(self, rows: npt.NDArray[Any]) -> list[list[npt.NDArray[np.float32]]]:
        # Some kernels peel their loops up to an aligned address. Every row starts at one, so all take the same path.
        row = _aligned((1, *rows.shape[1:]), rows.dtype)
        answers = []
        for content in rows:
            row[0] = content
            answers.append(self._session.run(self._targets, {self._source: row}))
        return answers


def _aligned(shape: tuple[int, ...], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    size = int(np.prod(shape)) * kind.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(kind).reshape(shape)
