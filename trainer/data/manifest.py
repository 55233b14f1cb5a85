"""The list of a user's own labelled clips, as CSV or JSON.

    labels.csv                                        labels.json
    ----------                                        -----------
    path,label,start,end,split,group,role             [{"path": "a.mp4", "label": "a person falls"},
    a.mp4,a person falls,,,,cam1,                      {"path": "b.mp4", "label": "OpenDoor", "start": 2.0, "end": 4.5,
    b.mp4,OpenDoor,2.0,4.5,validate,cam2,               "split": "validate", "group": "cam2"},
    c.mp4,,,,,cam1,background                          {"path": "c.mp4", "role": "background", "group": "cam1"}]

Paths are relative to the list. `start` and `end` (seconds) name a part of a file. `split` is `train` (default),
`validate` or `test`; where no row names one, a part of the groups is kept apart to validate (`trainer.data.splits`).
`group` is what clips share besides their label (recording, camera, person): a group is on one side only, and so is
every second of a file. `role` is `action` (default) or `background`, where no label happens. `labels` in place of
`label` takes several, with `|` between them in CSV. What stands there for background are texts of what it shows, such
as "a door swings in the wind": they are trained beside our own, and every label of the bundle competes with them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from trainer.data.list_file import Row, is_file, list_file, read_rows, shortened
from trainer.errors import RecipeError
from trainer.models.text import templates
from trainer.models.text.word_tokenizer import normal

Split = Literal["train", "validate", "test"]
Role = Literal["action", "background"]

SPLITS: tuple[str, ...] = get_args(Split)
ALSO_WRITTEN = {
    "training": "train",
    "val": "validate",
    "valid": "validate",
    "validation": "validate",
    "testing": "test",
}
_NAMED = 5  # problems in one message


@dataclass(frozen=True)
class Clip:
    """A file, or a part of one in seconds, and what it shows."""

    path: str
    label: str
    """Empty for background."""
    start: float = 0.0
    end: float | None = None
    split: str = "train"
    also: tuple[str, ...] = ()
    """Further labels that are true of it."""
    group: str = ""
    """What it shares with other clips besides the label; empty: nothing is known."""
    role: str = "action"
    shows: tuple[str, ...] = ()
    """Of background: texts of what it shows; none where it is just anything."""

    @property
    def until(self) -> float:
        """End in seconds; infinite where the clip lasts to the end of the file."""
        return math.inf if self.end is None else self.end

    @property
    def labels(self) -> tuple[str, ...]:
        """All of its labels; none for background."""
        return (self.label, *self.also) if self.label else ()

    @property
    def background(self) -> bool:
        """Whether no label happens in it."""
        return self.role == "background"

    @property
    def place(self) -> str:
        """The clip for a message: its file and, where it is a part of one, the seconds."""
        if not self.start and self.end is None:
            return self.path
        end = "" if self.end is None else f"{self.end:g}"
        return f"{self.path} {self.start:g}-{end} s"


@dataclass(frozen=True)
class Listed:
    """A list as it was read: the clips of its good rows, and what is wrong with the others, row by row."""

    path: Path
    clips: tuple[Clip, ...]
    problems: tuple[str, ...]
    splits: bool
    """Whether some row names a split."""


def read_list(source: Path) -> list[Clip]:
    """The clips that a list names: a CSV or JSON file, or a folder with labels.csv or labels.json.

    Class names such as OpenDoor or open_door become words. Raises RecipeError that names the list, the rows and the
    reasons.
    """
    return list(checked(scan(source)).clips)


def scan(source: Path) -> Listed:
    """Read a list without judging it as a whole. Raises RecipeError for what is no list at all."""
    path = list_file(source)
    rows = read_rows(path)
    if not rows:
        raise RecipeError(f"the list of clips {path} names no clip; it needs rows with path and label")
    clips, problems, splits = [], [], False
    for row in rows:
        try:
            clips.append(clip_of(row, path.parent))
            splits |= bool(_text_of(row.fields, "split"))
        except RecipeError as error:
            problems.append(f"{row.where}: {error}")
    return Listed(path, tuple(clips), tuple(problems), splits)


def checked(listed: Listed, *, taught: bool = False) -> Listed:
    """The list, if one can train with it. Raises RecipeError with all that is wrong, in one line.

    taught: labels are learned from examples (episodes), so that those of other splits need no clip to train on.
    """
    problems = listed.problems or tuple(message for _, message in problems_of(listed.clips, taught=taught))
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise RecipeError(f"the list of clips {listed.path}, {'; '.join(problems[:_NAMED])}{more}")
    return listed


def problems_of(clips: Sequence[Clip], *, taught: bool = False) -> Iterable[tuple[str, str]]:
    """What forbids training on these clips: pairs of a kind (labels, spelling, splits, leaking) and a line.

    taught: as for `checked`.
    """
    trained = {label for clip in clips if clip.split == "train" for label in clip.labels}
    labels = list(dict.fromkeys(label for clip in clips for label in clip.labels))
    if not trained:
        yield "splits", "there is no clip to train on; leave `split` of some empty"
        return
    for one, other in alike(labels, normal):
        yield "spelling", f"it has {one!r} and {other!r}, one label; write it one way"
    shown = dict.fromkeys(text for clip in clips for text in clip.shows)
    for label, text in alike((*labels, *shown), normal):
        if text in shown and label in labels:
            yield "labels", f"{text!r} is a label and a text of background; a clip that shows it is no background"
    if len(labels) == 1 and not any(clip.background for clip in clips):
        yield (
            "labels",
            f"it has one label only, {labels[0]!r}, and nothing to tell it from; add clips in which it does not "
            "happen, under a label of their own or with the role background",
        )
    for label in labels:
        if label not in trained and not taught:
            where = " and ".join(sorted({clip.split for clip in clips if label in clip.labels}))
            yield "splits", f"only clips of {where} have the label {label!r}; give some to train, or take them out"
    for file in _on_two_sides(clips):
        yield "leaking", f"it has seconds of {file} in two splits; keep recordings apart, or parts that share no second"
    for group, splits in leaking_groups(clips).items():
        yield "leaking", f"the group {group!r} is in {' and '.join(splits)}; keep all clips of a group in one split"


def alike(labels: Iterable[str], form: Callable[[str], str]) -> list[tuple[str, str]]:
    """Pairs of labels with one form."""
    first: dict[str, str] = {}
    return [(known, label) for label in labels if (known := first.setdefault(form(label), label)) != label]


def leaking_groups(clips: Sequence[Clip]) -> dict[str, list[str]]:
    """Groups with clips in more than one split, and these splits."""
    found: dict[str, set[str]] = {}
    for clip in clips:
        if clip.group:
            found.setdefault(clip.group, set()).add(clip.split)
    return {group: sorted(splits, key=SPLITS.index) for group, splits in found.items() if len(splits) > 1}


def _on_two_sides(clips: Sequence[Clip]) -> list[str]:
    """Files of which some second is in two splits."""
    spans: dict[Path, list[Clip]] = {}
    for clip in clips:
        spans.setdefault(Path(clip.path).resolve(), []).append(clip)
    return [str(file) for file, parts in spans.items() if _share_seconds(parts)]


def _share_seconds(parts: Sequence[Clip]) -> bool:
    latest: dict[str, float] = {}
    for part in sorted(parts, key=lambda part: part.start):
        if any(split != part.split and until > part.start for split, until in latest.items()):
            return True
        latest[part.split] = max(part.until, latest.get(part.split, 0.0))
    return False


def list_hash(clips: Sequence[Clip]) -> str:
    """A short hash of a list of clips and of the sizes of their files.

    Columns that came later count only where they are used, so that older runs know their list again.
    """
    later = {"also": (), "group": "", "role": "action", "shows": ()}
    rows = []
    for clip in clips:
        row = {name: value for name, value in asdict(clip).items() if name not in later or value != later[name]}
        rows.append({**row, "bytes": Path(clip.path).stat().st_size})
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:12]


def clip_of(row: Row, folder: Path) -> Clip:
    """The clip of a row, whose path is relative to `folder`. Raises RecipeError with what is wrong with it."""
    if row.problem:
        raise RecipeError(row.problem)
    fields = row.fields
    role = _one_of(fields, "role", get_args(Role), "action")
    labels = labels_of(fields)
    path = _text_of(fields, "path")
    if not path or (not labels and role == "action"):
        raise RecipeError("it lacks path or label")
    if not is_file(folder / path):
        raise RecipeError(f"there is no file {shortened(str(folder / path), 200)}")
    start, end = _seconds(fields, "start") or 0.0, _seconds(fields, "end")
    if start < 0 or (end is not None and end <= start):
        raise RecipeError(f"end {end} does not lie behind start {start:g}")
    split = _one_of(fields, "split", SPLITS, "train", ALSO_WRITTEN)
    group = " ".join(_text_of(fields, "group").split())
    if role == "background":
        return Clip(str(folder / path), "", start, end, split, (), group, role, labels)
    return Clip(str(folder / path), labels[0], start, end, split, labels[1:], group, role)


def labels_of(fields: dict[str, Any]) -> tuple[str, ...]:
    """The labels in the columns `label` and `labels`, as words. Raises RecipeError for what is no text."""
    several = fields.get("labels")
    if isinstance(several, str):
        several = several.split("|")
    if several is not None and not isinstance(several, list):
        raise RecipeError(f"labels is {shortened(several)}; write a list of texts")
    found = [_label(value) for value in (fields.get("label"), *(several or ()))]
    return tuple(dict.fromkeys(label for label in found if label))


def _label(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RecipeError(f"the label {shortened(json.dumps(value))} is no text; write it in quotation marks, as words")
    _writable(value, "label")
    return templates.spaced(value)


def _text_of(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if name == "group" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise RecipeError(f"{name} is {shortened(json.dumps(value))}, which is no text")
    _writable(value, name)
    return value.strip()


def _writable(value: str, name: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RecipeError(f"the {name} holds half a character (a lone surrogate); write it anew") from error


def _one_of(
    fields: dict[str, Any], name: str, known: Sequence[str], default: str, others: dict[str, str] | None = None
) -> str:
    value = _text_of(fields, name).lower() or default
    value = (others or {}).get(value, value)
    if value not in known:
        raise RecipeError(f"{name} {shortened(value)!r} is none of {', '.join(known)}")
    return value


def _seconds(fields: dict[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RecipeError(f"{name} is seconds, not {shortened(json.dumps(value))}")
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise RecipeError(f"{name} is seconds, a finite number, not {shortened(str(value))!r}")
    return seconds
