"""The list of a user's own labelled clips, as CSV or JSON.

    labels.csv                                   labels.json
    ----------                                   -----------
    path,label,start,end,split                   [{"path": "a.mp4", "label": "a person falls"},
    a.mp4,a person falls,,,                       {"path": "b.mp4", "label": "OpenDoor", "start": 2.0, "end": 4.5,
    b.mp4,OpenDoor,2.0,4.5,validate                "split": "validate"}]

Paths are relative to the list. `start` and `end` (seconds) name a part of a file; `split` is `train` (default) or
`validate`, and no second of a file may be in both. Without validation clips, the training clips are measured.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer.errors import RecipeError
from trainer.models.text import templates
from trainer.recipe import Recipe

_LISTS = ("labels.csv", "labels.json")
_SPLITS = ("train", "validate")


@dataclass(frozen=True)
class Clip:
    """A file, or a part of one in seconds, and what it shows."""

    path: str
    label: str
    start: float = 0.0
    end: float | None = None
    split: str = "train"

    @property
    def until(self) -> float:
        """End in seconds; infinite where the clip lasts to the end of the file."""
        return np.inf if self.end is None else self.end


def with_labels(recipe: Recipe) -> Recipe:
    """The recipe, completed from its list of clips.

    The distinct labels become the model's. The hash goes into checkpoints, so that a resumed run notices another list.
    """
    if recipe.data.clips is None:
        return recipe
    clips = read_list(recipe.data.clips)
    labels = tuple(sorted({clip.label for clip in clips}))
    data = recipe.data.model_copy(update={"clips_hash": list_hash(clips)})
    return recipe.model_copy(update={"data": data, "model": recipe.model.model_copy(update={"labels": labels})})


def read_list(source: Path) -> list[Clip]:
    """The clips that a list names: a CSV or JSON file, or a folder with labels.csv or labels.json.

    Class names such as OpenDoor or open_door become words. Raises RecipeError that names the list, the row and the
    reason.
    """
    path = _list_file(source)
    try:
        text = path.read_text("utf-8-sig")
        rows = json.loads(text) if path.suffix == ".json" else list(csv.DictReader(text.splitlines()))
    except (OSError, ValueError) as error:
        raise RecipeError(f"the list of clips {path} cannot be read: {error}") from error
    if not isinstance(rows, list) or not rows:
        raise RecipeError(f"the list of clips {path} names no clip; it needs rows with path and label")
    clips = [_clip(row, f"{path}, clip {number}", path.parent) for number, row in enumerate(rows, 1)]
    if all(clip.split != "train" for clip in clips):
        raise RecipeError(f"the list of clips {path} has no clip to train on; leave `split` of some empty")
    labels = dict.fromkeys(clip.label for clip in clips)
    if same := templates.same_words(labels):
        raise RecipeError(f"the list of clips {path} has {same[0]!r} and {same[1]!r}, one label; write it one way")
    if len(labels) == 1:
        raise RecipeError(
            f"the list of clips {path} has one label only, {clips[0].label!r}, and nothing to tell it from; add clips "
            "in which it does not happen, under a label of their own"
        )
    if both := _trained_and_measured(clips):
        raise RecipeError(
            f"the list of clips {path} both trains and validates on {both}; keep whole recordings apart, or parts that "
            "share no second"
        )
    return clips


def _trained_and_measured(clips: Sequence[Clip]) -> str | None:
    """A file of which some second is in both splits, if there is one."""
    spans: dict[Path, list[Clip]] = {}
    for clip in clips:
        spans.setdefault(Path(clip.path).resolve(), []).append(clip)
    for file, parts in spans.items():
        train, validate = ([part for part in parts if part.split == split] for split in _SPLITS)
        if any(one.start < other.until and other.start < one.until for one in train for other in validate):
            return str(file)
    return None


def list_hash(clips: Sequence[Clip]) -> str:
    """A short hash of a list of clips and of the sizes of their files."""
    rows = [{**asdict(clip), "bytes": Path(clip.path).stat().st_size} for clip in clips]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:12]


def _list_file(source: Path) -> Path:
    if not source.is_dir():
        return source
    for name in _LISTS:
        if (source / name).is_file():
            return source / name
    raise RecipeError(f"{source} holds neither {' nor '.join(_LISTS)}; write one with rows of path and label")


def _clip(row: Any, where: str, folder: Path) -> Clip:
    if not isinstance(row, dict) or not row.get("path") or not row.get("label"):
        raise RecipeError(f"{where} lacks path or label")
    path = folder / str(row["path"])
    if not path.is_file():
        raise RecipeError(f"{where}: there is no file {path}")
    try:
        start = float(row.get("start") or 0.0)
        end = None if row.get("end") in (None, "") else float(row["end"])
    except ValueError as error:
        raise RecipeError(f"{where}: start and end are seconds: {error}") from error
    if start < 0 or (end is not None and end <= start):
        raise RecipeError(f"{where}: end {end} does not lie behind start {start:g}")
    split = row.get("split") or "train"
    if split not in _SPLITS:
        raise RecipeError(f"{where}: split {split!r} is neither {' nor '.join(_SPLITS)}")
    return Clip(str(path), templates.spaced(str(row["label"]).strip()), start, end, split)
