"""Embeds the labels of a file ahead of time, so that no worker has to: hours of work for ten thousand on a CPU.

They go where workers look for them, the user's cache, or into another folder that is carried to the workers' hosts.
What is there already is not embedded again, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from engines.bundle.files import Bundle
from engines.canonical import spaced
from engines.errors import TextError
from engines.strict_json import short
from engines.text.text_bank import TextEncoder
from engines.text.text_cache import TextCache


@dataclass(frozen=True, slots=True)
class Filled:
    """What became of the labels of a file."""

    bundle: str
    space: str
    folder: str
    """Where the embeddings lie."""
    labels: int
    """Different texts in the file."""
    embedded: int
    known: int
    """Those that were embedded before."""
    refused: tuple[tuple[str, str], ...]
    """Texts that the bundle cannot watch for, each with the reason."""
    seconds: float

    def data(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        refused = [{"label": label, "reason": reason} for label, reason in self.refused]
        return {**asdict(self), "refused": refused}


def read_labels(file: Path) -> tuple[str, ...]:
    """Return the different label texts of a file, in its order.

    A `.yaml`, `.yml` or `.json` file has a list under `labels:`, of texts or of objects with a `text`, as in settings.
    Any other file has one label on each line; empty lines and lines that begin with # do not count.
    Raises TextError for a file that cannot be read as that or holds no label.
    """
    try:
        content = file.read_text(encoding="utf-8")
        found = _listed(yaml.safe_load(content), file) if file.suffix in (".yaml", ".yml", ".json") else _lines(content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise TextError(f"{file} cannot be read as labels: {short(str(error))}") from error
    if not (texts := tuple(dict.fromkeys(text for one in found if (text := spaced(one))))):
        raise TextError(f"{file} holds no label; write one on each line, or a list under `labels:` in YAML")
    return texts


def fill(bundle: Bundle, labels: Iterable[str], cache: Path, *, step: Callable[[], object] = lambda: None) -> Filled:
    """Embed the labels that are not in `cache` yet. step: called after each.

    A label that the bundle cannot watch for is among `refused` and holds up no other.
    Raises TextError where the folder cannot be written, and what opening the text network raises.
    """
    began, manifest = time.perf_counter(), bundle.manifest
    templates = manifest.score.templates
    kept = TextCache(cache, manifest.space.id, (len(templates), manifest.space.dimensions))
    encoder = TextEncoder(bundle, cache=cache)
    known = embedded = 0
    refused = []
    try:
        for label in labels:
            before = kept.read(templates, label) is not None
            try:
                encoder.embed_labels([label])
            except TextError as error:
                refused.append((label, str(error)))
            else:
                known, embedded = known + before, embedded + (not before)
                if not before and kept.read(templates, label) is None:
                    raise TextError(f"{kept.folder} cannot be written; choose another folder with --cache")
            step()
    finally:
        encoder.close()
    return Filled(
        bundle=bundle.label,
        space=manifest.space.id,
        folder=str(kept.folder),
        labels=known + embedded + len(refused),
        embedded=embedded,
        known=known,
        refused=tuple(refused),
        seconds=round(time.perf_counter() - began, 3),
    )


def _listed(document: Any, file: Path) -> list[str]:
    listed = document.get("labels") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise TextError(f"{file} must hold a list under `labels:`")
    texts = []
    for one in listed:
        text = one.get("text") if isinstance(one, dict) else one
        if not isinstance(text, str):
            raise TextError(f"{file}: a label is a text, or an object with a `text`, not {short(one)}")
        texts.append(text)
    return texts


def _lines(content: str) -> list[str]:
    return [line for line in content.splitlines() if not line.lstrip().startswith("#")]
