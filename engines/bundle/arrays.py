"""The arrays of a bundle: the golden probe and the reference texts, as npz without pickle."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.bundle.manifest import LEARNED_FILE, Manifest
from engines.errors import BundleError

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Golden:
    """The golden probe: inputs, and the outputs of the exporting framework.

    images uint8 [k, H, W, 3]; items float32 [k, D], or the images again for a clip bundle; with memory the images are
    frames of one stream from its start. windows [m, T, ...] of items; head, pooled float32 [m, D] normalised; texts and
    their text_embeddings float32 [n, D] normalised.
    """

    images: npt.NDArray[np.uint8]
    items: npt.NDArray[np.float32] | npt.NDArray[np.uint8]
    windows: npt.NDArray[np.float32] | npt.NDArray[np.uint8]
    head: Floats
    pooled: Floats
    texts: tuple[str, ...]
    text_embeddings: Floats


@dataclass(frozen=True, slots=True)
class References:
    """The texts that every label competes with.

    texts and kinds (`background` or `action`), R of each; embeddings float32 [R, P, D], one per template, normalised. A
    background text takes no template, so its P embeddings are equal.
    """

    texts: tuple[str, ...]
    kinds: tuple[str, ...]
    embeddings: Floats


@dataclass(frozen=True, slots=True)
class Learned:
    """Names that training gave a context of their own; everything else is read by text.onnx.

    texts, K of them; embeddings float32 [K, P, D], one per template, normalised.
    """

    texts: tuple[str, ...]
    embeddings: Floats


def write_golden(directory: Path, golden: Golden) -> None:
    """Write `golden.npz`; the same arrays give the same bytes."""
    arrays = {name: np.asarray(getattr(golden, name)) for name in Golden.__slots__}
    _write_arrays(Path(directory) / "golden.npz", arrays)


def write_references(directory: Path, references: References) -> None:
    """Write `references.npz`; the same arrays give the same bytes."""
    arrays = {name: np.asarray(getattr(references, name)) for name in References.__slots__}
    _write_arrays(Path(directory) / "references.npz", arrays)


def write_learned(directory: Path, learned: Learned) -> None:
    """Write `learned.npz`; the same arrays give the same bytes."""
    arrays = {name: np.asarray(getattr(learned, name)) for name in Learned.__slots__}
    _write_arrays(Path(directory) / LEARNED_FILE, arrays)


def _write_arrays(path: Path, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
    # numpy.savez writes the present time into the archive, so equal arrays would get different hashes.
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), buffer.getvalue())


def _arrays(path: Path, content: bytes) -> dict[str, npt.NDArray[np.generic]]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path} is not an npz file without pickle ({error}); export the bundle again") from error


def parse_golden(content: bytes, manifest: Manifest, path: Path) -> Golden:
    """Return the golden probe in an npz file's bytes. Raises BundleError when it does not fit the manifest."""
    arrays = _arrays(path, content)
    pixels = (manifest.input.height, manifest.input.width, 3)
    dimensions, frames = manifest.space.dimensions, manifest.window.frames
    clip = manifest.kind == "clip"
    item: tuple[int, ...] = pixels if clip else (dimensions,)
    kind: type[np.generic] = np.uint8 if clip else np.float32
    forms: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
        "images": ((-1, *pixels), np.uint8),
        "items": ((-1, *item), kind),
        "windows": ((-1, frames, *item), kind),
        "head": ((-1, dimensions), np.float32),
        "pooled": ((-1, dimensions), np.float32),
        "texts": ((-1,), np.str_),
        "text_embeddings": ((-1, dimensions), np.float32),
    }
    _check_arrays(path, arrays, forms)
    texts = tuple(str(text) for text in arrays.pop("texts"))
    golden = Golden(texts=texts, **arrays)  # type: ignore[arg-type]
    same = (len(golden.images) == len(golden.items), len(golden.windows) == len(golden.head) == len(golden.pooled))
    if not all(same) or len(texts) != len(golden.text_embeddings) or not len(golden.windows) or not len(texts):
        raise BundleError(f"{path} has parts of different lengths; export the bundle again")
    return golden


def parse_references(content: bytes, manifest: Manifest, path: Path) -> References:
    """Return the reference texts in an npz file's bytes. Raises BundleError when they do not fit the manifest."""
    arrays = _arrays(path, content)
    per_text = (-1, len(manifest.score.templates), manifest.space.dimensions)
    forms: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
        "texts": ((-1,), np.str_),
        "kinds": ((-1,), np.str_),
        "embeddings": (per_text, np.float32),
    }
    _check_arrays(path, arrays, forms)
    texts = tuple(str(text) for text in arrays["texts"])
    kinds = tuple(str(kind) for kind in arrays["kinds"])
    if not texts or not len(texts) == len(kinds) == len(arrays["embeddings"]):
        raise BundleError(f"{path} has no reference texts or parts of different lengths; export the bundle again")
    if unknown := sorted(set(kinds) - {"background", "action"}):
        raise BundleError(f"{path} has kinds {', '.join(unknown)}, known are background and action; export it again")
    return References(texts, kinds, arrays["embeddings"])  # type: ignore[arg-type]


def parse_learned(content: bytes, manifest: Manifest, path: Path) -> Learned:
    """Return the names with a context of their own. Raises BundleError when they do not fit the manifest."""
    arrays = _arrays(path, content)
    per_text = (-1, len(manifest.score.templates), manifest.space.dimensions)
    _check_arrays(path, arrays, {"texts": ((-1,), np.str_), "embeddings": (per_text, np.float32)})
    texts = tuple(str(text) for text in arrays["texts"])
    if not texts or len(texts) != len(arrays["embeddings"]):
        raise BundleError(f"{path} has no texts or parts of different lengths; export the bundle again")
    return Learned(texts, arrays["embeddings"])  # type: ignore[arg-type]


def _check_arrays(
    path: Path,
    arrays: dict[str, npt.NDArray[np.generic]],
    forms: Mapping[str, tuple[tuple[int, ...], type[np.generic]]],
) -> None:
    if set(arrays) != set(forms):
        raise BundleError(f"{path} holds {sorted(arrays)}, expected {sorted(forms)}; export the bundle again")
    for name, (shape, kind) in forms.items():
        array = arrays[name]
        fits = array.ndim == len(shape) and all(
            want in (-1, have) for want, have in zip(shape, array.shape, strict=True)
        )
        if not fits or not np.issubdtype(array.dtype, kind):
            raise BundleError(
                f"{path} has {name} as {array.dtype} {list(array.shape)}, expected {kind.__name__} "
                f"{['any' if want == -1 else want for want in shape]}; export the bundle again"
            )
