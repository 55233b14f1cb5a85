"""What the exports of trained and of pretrained models share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from engines.bundle.arrays import Learned, References, write_golden, write_learned, write_references
from engines.bundle.manifest import Memory, Version
from trainer.errors import ExportError
from trainer.models.text.backgrounds import ReferenceText
from trainer.models.text.templates import fill

if TYPE_CHECKING:
    from trainer.models.video_text import VideoTextModel

Progress = Callable[[str], None]
"""Called with what is done next."""

_TEXTS_AT_ONCE = 32


@dataclass(frozen=True)
class Probe:
    """What a golden probe is made of: seeded pictures of height x width pixels, and texts."""

    height: int
    width: int
    texts: tuple[str, ...]
    seed: int


def check_version(version: str) -> str:
    """The version, if a manifest accepts it. Raises ExportError otherwise."""
    try:
        return TypeAdapter(Version).validate_python(version)
    except ValidationError as error:
        raise ExportError(
            f"{version!r} is no version of a bundle: letters, digits and . _ + - only, no blanks"
        ) from error


def check_new(out: Path) -> None:
    """Raise ExportError if `out` exists."""
    if out.exists():
        raise ExportError(f"{out} exists; name a new directory, or remove it")


@contextmanager
def new_directory(out: Path) -> Iterator[Path]:
    """A directory to fill: it becomes `out` on success and is removed on failure. Raises ExportError."""
    check_new(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield building
        building.chmod(0o755)
        building.replace(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def write_parts(
    model: VideoTextModel,
    directory: Path,
    probe: Probe,
    references: Sequence[ReferenceText],
    templates: Sequence[str],
    progress: Progress,
) -> tuple[References, dict[str, float]]:
    """Write all of a bundle but its manifest: tokenizer, golden probe, networks and embedded reference texts.

    Returns the references and each network's greatest difference from torch. Raises ExportError for a tower that is
    too large, ParityError.
    """
    from trainer.export import onnx

    model.tokenizer.save(str(directory / "tokenizer.json"), pretty=False)
    progress("computing the golden probe")
    golden = onnx.golden_probe(model, probe.height, probe.width, probe.texts, seed=probe.seed)
    write_golden(directory, golden)
    differences = onnx.write_networks(model, golden, directory, progress=progress)
    embedded = embed_references(model, references, templates, progress)
    write_references(directory, embedded)
    if has_learned(model):
        names = [place for place, kind in enumerate(embedded.kinds) if kind == "action"]
        texts = tuple(embedded.texts[place] for place in names)
        write_learned(directory, Learned(texts, embedded.embeddings[names]))
    return embedded, differences


def memory_of(model: VideoTextModel) -> Memory | None:
    """What a causal tower carries from frame to frame, as the manifest says it."""
    if not model.history:
        return None
    return Memory(history=model.history, shapes=tuple(tuple(one.shape[1:]) for one in model.memory(1)))


def has_learned(model: VideoTextModel) -> bool:
    """Whether names of training have a context of their own, which text.onnx does not know."""
    from trainer.models.text.context import ClassContext

    return isinstance(model.context, ClassContext)


def embed_references(
    model: VideoTextModel,
    references: Sequence[ReferenceText],
    templates: Sequence[str],
    progress: Progress = lambda step: None,
) -> References:
    """Reference texts with their embeddings. A background takes no template."""
    import torch

    filled = [
        [entry.text] * len(templates)
        if entry.kind == "background"
        else [fill(template, entry.text) for template in templates]
        for entry in references
    ]
    distinct = list(dict.fromkeys(text for texts in filled for text in texts))
    parts: list[npt.NDArray[np.float32]] = []
    for start in range(0, len(distinct), _TEXTS_AT_ONCE):
        progress(f"embedding reference texts, {start} of {len(distinct)}")
        with torch.no_grad():
            parts.append(model.encode_text(model.tokens(distinct[start : start + _TEXTS_AT_ONCE])).numpy())
    row = dict(zip(distinct, np.concatenate(parts), strict=True))
    return References(
        texts=tuple(entry.text for entry in references),
        kinds=tuple(entry.kind for entry in references),
        embeddings=np.array([[row[text] for text in texts] for texts in filled], np.float32),
    )
