"""Background that a list implies: the time between the labelled parts of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.data.manifest import Clip

MARGIN = 0.5
"""Seconds around a labelled part that are left out: nobody marks begin and end more exactly."""


def between(clips: Sequence[Clip], shortest: float) -> list[Clip]:
    """Clips of background: what lies between two labelled parts of one file, less a margin, if `shortest` s are left.

        parts       |--- a ---|                       |-- b --|
        background              |-------- c --------|

    Neighbours in two splits have nothing between them that would belong to one side.
    """
    files: dict[Path, list[Clip]] = {}
    for clip in clips:
        files.setdefault(Path(clip.path).resolve(), []).append(clip)
    return [gap for parts in files.values() for gap in _gaps(parts, shortest)]


def _gaps(parts: Sequence[Clip], shortest: float) -> list[Clip]:
    found: list[Clip] = []
    before: Clip | None = None  # the part that reaches furthest so far
    for part in sorted(parts, key=lambda part: part.start):
        if before is not None and part.split == before.split:
            start, end = before.until + MARGIN, part.start - MARGIN
            if end - start >= shortest:
                found.append(
                    Clip(part.path, "", start, end, part.split, group=part.group or before.group, role="background")
                )
        if before is None or part.until > before.until:
            before = part
    return found
