"""What the exports of trained and of pretrained models share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from engines.bundle.files import References
from engines.bundle.manifest import Version
from trainer.errors import ExportError
from trainer.models.text.backgrounds import ReferenceText
from trainer.models.text.templates import fill

if TYPE_CHECKING:
    from trainer.models.video_text import VideoTextModel

_TEXTS_AT_ONCE = 32


def check_version(version: str) -> str:
    """The version of a bundle, as it may stand in a manifest. Raises ExportError."""
    try:
        return TypeAdapter(Version).validate_python(version)
    except ValidationError as error:
        raise ExportError(
            f"{version!r} is no version of a bundle: letters, digits and . _ + - only, no blanks"
        ) from error


@contextmanager
def new_directory(out: Path) -> Iterator[Path]:
    """A directory to fill that becomes `out` when all went well, and vanishes otherwise. Raises ExportError."""
    out = Path(out)
    if out.exists():
        raise ExportError(f"{out} exists; name a new directory, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield building
        building.chmod(0o755)
        building.replace(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def embed_references(
    model: VideoTextModel,
    references: Sequence[ReferenceText],
    templates: Sequence[str],
    progress: Callable[[str], None] = lambda step: None,
) -> References:
    """Reference texts with their embeddings; a background stands as it is under every template."""
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
