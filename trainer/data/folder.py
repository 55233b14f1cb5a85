"""From a folder of videos to a list of clips, with splits that keep groups together.

videos/falls/a.mp4             a folder per label; `background` or `quiet` holds recordings in which nothing happens
videos/train/falls/a.mp4       the same under train, validate (val) and test
videos/a.mp4, videos/a.csv     a video, and beside it its parts: label,start,end (or a.json)
videos/annotations.csv         one table for all: path,label,start,end,... (or labels, manifest, clips; or JSON)
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.data.decode import probe
from trainer.data.list_file import Row, read_rows
from trainer.data.manifest import ALSO_WRITTEN, SPLITS, Clip, clip_of, labels_of
from trainer.data.splits import drawn
from trainer.errors import RecipeError, VideoError
from trainer.progress import Count

_ENDINGS = "mp4 m4v mov avi mkv webm mpg mpeg ts mts m2ts 3gp wmv flv h264 h265 mjpeg"
VIDEOS = frozenset(f".{ending}" for ending in _ENDINGS.split())
"""How files are called that are taken for videos."""

QUIET = frozenset({"background", "quiet"})
"""Names of folders whose videos show no action."""

_TABLES = ("annotations", "labels", "manifest", "clips")
_COLUMNS = ("path", "label", "start", "end", "split", "group", "role")


@dataclass(frozen=True)
class Made:
    """The clips of a folder, the files that were left out with the reasons, and the splits that could not be drawn."""

    clips: tuple[Clip, ...]
    unreadable: dict[str, str]
    undrawn: tuple[str, ...]


def clips_in(
    folder: Path,
    *,
    shares: dict[str, float],
    seed: int,
    group_column: str,
    group_pattern: str | None,
    said: Count,
    besides: Path | None = None,
) -> Made:
    """The clips of a folder in one of the forms above; every file is opened once.

    shares: how much of the clips each split gets, where the folder states none. group_column: the column of a table
    that holds the group. group_pattern: a regular expression; what its first group finds in a path is the clip's group.
    besides: a list in the folder that is no table of it, such as the one to be written.
    Raises RecipeError for a folder without videos or without labels, and for a table that cannot be read.
    """
    clips = _found(folder, group_column, besides)
    if not any(clip.labels for clip in clips):
        raise RecipeError(
            f"{folder} holds no labelled video: make a folder per label in it, put a CSV of label,start,end beside "
            "each video, or one annotations.csv with path,label,start,end"
        )
    if group_pattern:
        clips = [replace(clip, group=_group(group_pattern, clip, folder) or clip.group) for clip in clips]
    unreadable: dict[str, str] = {}
    files = dict.fromkeys(clip.path for clip in clips)
    for done, path in enumerate(files, 1):
        try:
            probe(Path(path))
        except VideoError as error:
            unreadable[path] = error.reason
        said(done, len(files))
    good = [clip for clip in clips if clip.path not in unreadable]
    if any(clip.split != "train" for clip in good):
        return Made(tuple(good), unreadable, ())
    split, undrawn = drawn(good, shares, seed)
    return Made(tuple(split), unreadable, tuple(undrawn))


def write_list(clips: Sequence[Clip], out: Path) -> None:
    """Write a list of clips as CSV, with paths relative to it where they lie beside or below it."""
    home = out.resolve().parent
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        several = any(clip.also or len(clip.shows) > 1 for clip in clips)
        writer.writerow([("labels" if name == "label" and several else name) for name in _COLUMNS])
        for clip in clips:
            path = Path(clip.path).absolute()
            shown = os.path.relpath(path, home) if path.resolve().is_relative_to(home) else str(path)
            end = "" if clip.end is None else f"{clip.end:g}"
            start = f"{clip.start:g}" if clip.start or end else ""
            role = clip.role if clip.background else ""
            writer.writerow([shown, "|".join(clip.labels or clip.shows), start, end, clip.split, clip.group, role])


def _found(folder: Path, group_column: str, besides: Path | None) -> list[Clip]:
    if not folder.is_dir():
        raise RecipeError(f"{folder} is no folder; name one that holds videos")
    if table := _table(folder, besides):
        return _rows(table, folder, group_column)
    videos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEOS and path.is_file())
    clips: list[Clip] = []
    for path in videos:
        beside = [other for end in (".csv", ".json") if (other := path.with_suffix(end)).is_file()]
        if beside:
            clips += _rows(beside[0], path.parent, group_column, path.name)
        elif path.parent != folder:
            clips.append(_of_folder(path, folder))
    return clips


def _table(folder: Path, besides: Path | None) -> Path | None:
    for path in sorted(folder.iterdir()):
        mine = besides is not None and path.resolve() == besides.resolve()
        if path.stem.lower() in _TABLES and path.suffix.lower() in (".csv", ".json") and not mine:
            return path
    return None


def _rows(table: Path, folder: Path, group_column: str, name: str | None = None) -> list[Clip]:
    """The clips of a table; `name` is the file of all rows where the table stands beside a video."""
    needed = [("label", "labels", "role")] + ([] if name else [("path",)])
    clips, problems = [], []
    for row in read_rows(table, needed):
        fields = {**row.fields, "group": row.fields.get(group_column.lower()) or row.fields.get("group")}
        if name:
            fields["path"] = name
        try:
            clips.append(clip_of(Row(row.where, fields, row.problem), folder))
        except RecipeError as error:
            problems.append(f"{row.where}: {error}")
    if problems:
        raise RecipeError(f"{table}, {'; '.join(problems[:5])}")
    return clips


def _of_folder(path: Path, folder: Path) -> Clip:
    """The clip of a file in a folder per label, with its split where the folders name one."""
    parts = path.relative_to(folder).parts[:-1]
    split = ALSO_WRITTEN.get(parts[0].lower(), parts[0].lower())
    names = parts[1:] if split in SPLITS and len(parts) > 1 else parts
    split = split if split in SPLITS and len(parts) > 1 else "train"
    if names[0].lower() in QUIET:
        return Clip(str(path), "", split=split, role="background")
    return Clip(str(path), labels_of({"label": names[0]})[0], split=split)


def _group(pattern: str, clip: Clip, folder: Path) -> str:
    try:
        found = re.search(pattern, Path(os.path.relpath(clip.path, folder)).as_posix())
    except re.error as error:
        raise RecipeError(f"--group-pattern {pattern!r} is no regular expression: {error}") from error
    return (found[1] if found.re.groups else found[0]) or "" if found else ""


def summary(made: Made, out: Path) -> dict[str, object]:
    """What was written, for a program."""
    labels: dict[str, dict[str, int]] = {}
    for clip in made.clips:
        for label in clip.labels:
            counts = labels.setdefault(label, dict.fromkeys(SPLITS, 0))
            counts[clip.split] += 1
    return {
        "list": str(out),
        "clips": len(made.clips),
        "background": sum(clip.background for clip in made.clips),
        "groups": len({clip.group for clip in made.clips if clip.group}),
        "labels": labels,
        "unreadable": [{"path": path, "reason": reason} for path, reason in made.unreadable.items()],
        "not_drawn": list(made.undrawn),
    }
