"""What a check found, as one picture: clips as strips of frames, with what is said of them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib

from trainer.data.cache import Clips
from trainer.data.check import Checked
from trainer.data.manifest import Clip

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot

_FRAMES = 5  # per strip
_STRIPS = 60  # at most
_COLUMNS = 2
_TITLE = 90  # characters per line


def draw(checked: Checked, picture: Path) -> int:
    """Draw the clips of the findings, then one clip of each label, into a PNG. Returns the number of strips."""
    numbers = {clip: number for number, clip in enumerate(checked.opened.clips)}
    strips = [
        (clip, f"{finding.kind}: {finding.message}")
        for finding in checked.findings
        for clip in finding.clips
        if clip in numbers
    ]
    strips += _one_of_each(checked.opened)
    strips = strips[:_STRIPS]
    rows = max(1, -(-len(strips) // _COLUMNS))
    figure, grid = pyplot.subplots(rows, _COLUMNS, figsize=(16, 1.8 * rows), layout="constrained", squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (clip, text) in zip(grid.flat, strips, strict=False):
        frames = checked.opened.sample(numbers[clip], _FRAMES)
        axes.imshow(np.concatenate(list(frames), axis=1))
        axes.set_title(_title(clip, text), fontsize=7, loc="left", parse_math=False)
    figure.savefig(picture, dpi=100, format="png")
    pyplot.close(figure)
    return len(strips)


def _one_of_each(clips: Clips) -> Sequence[tuple[Clip, str]]:
    first: dict[tuple[str, ...], Clip] = {}
    for clip in clips.clips:
        first.setdefault(clip.labels, clip)
    return [(clip, "an example") for _, clip in sorted(first.items())]


def _title(clip: Clip, text: str) -> str:
    place = clip.place if len(clip.place) < _TITLE else f"...{clip.place[-_TITLE:]}"
    return "\n".join([f"[{clip.label or 'background'}] {clip.split}  {place}", *textwrap.wrap(text, _TITLE)[:2]])
