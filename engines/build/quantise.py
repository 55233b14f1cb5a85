"""An int8 variant of a bundle: one ONNX form that every runtime takes.

Quantise and dequantise nodes, symmetric, S8 activations with one scale per tensor and S8 weights with one per channel,
around products and convolutions; softmax, normalisation and everything between stay float32. Biases stay float32:
TensorRT refuses a dequantised one (onnxruntime's `QuantizeBias: False`). So do the first and the last product of a
network, which cost little and lose most: pixels use half of a symmetric range, and the projection's error is the
embedding's. Needs the extra `quantise`.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.backends import ov
from engines.backends.network import normalise, signature
from engines.bundle.files import Bundle, add_variant, load
from engines.bundle.manifest import Calibration, Variant, variant_file
from engines.contract import Engine, Images
from engines.errors import BackendUnavailable, BundleError, CalibrationError

LEAST_FRAMES = 200
"""24 pictures leave a ViT-B/32 fourteen times further off than 200."""
LIMIT = 5e-3
_OPERATORS = ["MatMul", "Gemm", "Conv"]
_HELD_OUT = 5
"""Every fifth frame is not calibrated with but measured on."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """What came out: the new bundle, and 1 - cosine to its float32 embeddings on frames held out of calibration."""

    bundle: Bundle
    worst: float
    mean: float


def quantise(
    bundle: Bundle,
    frames: Images,
    out: Path,
    *,
    version: str,
    keep: Sequence[str] = (),
    limit: float = LIMIT,
    progress: Callable[[str], None] = lambda step: None,
) -> Quantised:
    """Write `bundle` with an int8 variant to the new directory `out`, and return it sealed.

    frames: uint8 RGB [n, H, W, 3] at the bundle's size, n >= `LEAST_FRAMES`. version: of the new bundle; its space
    stays that of the old one. keep: names of nodes that stay float32, beside the first and the last product of each
    network. limit: largest 1 - cosine to float32, of items and windows.
    Raises CalibrationError for a bundle with memory, for too few frames and for a variant that is further off than
    `limit`, BundleError when `out` exists, BackendUnavailable without the extra.
    """
    if bundle.manifest.memory is not None:
        raise CalibrationError(
            f"bundle {bundle.label} carries memory from frame to frame, and int8 is made of networks without; run it "
            "in fp32, or in bf16 with OpenVINO"
        )
    if len(frames) < LEAST_FRAMES:
        raise CalibrationError(f"{len(frames)} frames are too few to calibrate with; give {LEAST_FRAMES} or more")
    if out.exists():
        raise BundleError(f"{out} exists; name a new directory, or remove it")
    held = np.arange(len(frames)) % _HELD_OUT == 0
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        for name in ("bundle.json", *bundle.manifest.file_names):
            shutil.copyfile(bundle.path / name, building / name)
        reference = ov.open(bundle)
        for name in bundle.manifest.network_names:
            progress(f"quantising {name}")
            rows = _rows(bundle, reference, name, frames[~held])
            (source,), _ = signature(bundle.manifest, name)
            _write(bundle.path / name, building / variant_file(name), source, rows, keep)
        calibration = Calibration(sha256=hashlib.sha256(frames.tobytes()).hexdigest(), frames=int((~held).sum()))
        progress("measuring")
        variant = Variant(calibration=calibration, worst=0.0, mean=0.0)
        add_variant(building, variant, version=version)
        worst, mean = _difference(reference, load(building), frames[held])
        reference.close()
        if worst > limit:
            raise CalibrationError(
                f"int8 of {bundle.label} is {worst:.2g} off float32 (1 - cosine), {limit:.2g} is allowed; calibrate "
                "with frames that are more like those of the cameras, or keep nodes in float32 with --keep"
            )
        add_variant(building, variant.model_copy(update={"worst": worst, "mean": mean}), version=version)
        building.chmod(0o755)
        building.replace(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Quantised(load(out), worst, mean)


def _rows(bundle: Bundle, engine: Engine, name: str, frames: Images) -> npt.NDArray[Any]:
    """Return what the network takes: frames, or windows of their items in the order of the frames."""
    if name == "image.onnx":
        return frames
    return _windows(engine, frames)


def _windows(engine: Engine, frames: Images) -> npt.NDArray[Any]:
    items, length = engine.encode(frames)[0], engine.info.frames
    starts = range(0, max(1, len(items) - length + 1), max(1, length // 2))
    return np.stack([np.take(items, np.arange(start, start + length), axis=0, mode="wrap") for start in starts])


def _difference(reference: Engine, bundle: Bundle, frames: Images) -> tuple[float, float]:
    engine = ov.open(bundle, precision="int8")
    try:
        found = [_embeddings(opened, frames) for opened in (reference, engine)]
    finally:
        engine.close()
    distances = np.concatenate([1 - np.sum(one * other, axis=-1) for one, other in zip(*found, strict=True)])
    return max(0.0, float(distances.max())), max(0.0, float(distances.mean()))


def _embeddings(engine: Engine, frames: Images) -> list[npt.NDArray[np.float32]]:
    """Return items, where a bundle has them, and windows' embeddings, at length 1."""
    head, _ = engine.embed(_windows(engine, frames))
    return [head] if engine.info.kind == "clip" else [normalise(engine.encode(frames)[0]), head]


def _write(network: Path, target: Path, source: str, rows: npt.NDArray[Any], keep: Sequence[str]) -> None:
    try:
        import onnx
        from onnxruntime import quantization
    except ImportError as error:
        raise BackendUnavailable(
            f"quantising needs more packages ({error}); pip install 'actionwire[quantise]'"
        ) from error

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rows: Iterator[dict[str, npt.NDArray[Any]]] = iter([{source: row[None]} for row in rows])

        def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
            return next(self._rows, None)

    # It writes intermediate files beside its source.
    with tempfile.TemporaryDirectory() as folder:
        copied, made = Path(folder) / network.name, Path(folder) / target.name
        shutil.copyfile(network, copied)
        products = [node.name for node in onnx.load(copied).graph.node if node.op_type in _OPERATORS]
        with _quiet():
            _quantise_file(quantization, copied, made, Reader(), [*products[:1], *products[-1:], *keep])
        shutil.copyfile(made, target)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice about its own options off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _quantise_file(quantization: Any, source: Path, target: Path, reader: Any, keep: Sequence[str]) -> None:
    quantization.quantize_static(
        str(source),
        str(target),
        reader,
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        op_types_to_quantize=_OPERATORS,
        nodes_to_exclude=list(keep),
        calibrate_method=quantization.CalibrationMethod.MinMax,
        extra_options={"QuantizeBias": False, "ActivationSymmetric": True, "WeightSymmetric": True},
    )
