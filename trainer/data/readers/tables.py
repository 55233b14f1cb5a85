"""The CSV files of Kinetics and Charades.

Kinetics    label,youtube_id,time_start,time_end,split
            abseiling,_4YTwq0-73Y,19,29,train          (file ID_000019_000029.mp4, or ID.mp4, in any folder)
Charades    id,subject,...,actions,length              actions: c092 11.90 21.20;c147 0.00 12.60
            Charades_v1_classes.txt: c000 Holding some clothes
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainer.data.manifest import ALSO_WRITTEN, SPLITS
from trainer.data.readers.found import Found, files_in, lines_of, number, place, refused, text_of

_KINETICS = ("label", "youtube_id", "time_start", "time_end", "split")
_CHARADES = ("id", "actions", "length")


def kinetics(source: Path) -> Iterator[Found]:
    """The clips of one file, or of all in a folder. Trimmed files are whole; of an untrimmed one the seconds are named.

    Raises RecipeError.
    """
    for path in files_in(source, ("*.csv",), "lists of Kinetics"):
        for line, row in _rows(path, _KINETICS):
            where, identity = place(path, line), row["youtube_id"]
            start, end = (number(row[name], where, name) for name in ("time_start", "time_end"))
            side = ALSO_WRITTEN.get(row["split"].lower(), row["split"].lower())
            if side not in SPLITS:
                raise refused(where, f"split {row['split']!r} is none of train, val and test", "correct it")
            if not row["label"]:
                raise refused(where, "it names no label", "take the list that was published with labels")
            trimmed = f"{identity}_{int(start):06d}_{int(end):06d}"
            yield Found(
                where, (trimmed, identity), (row["label"],), side, start, end, identity, trimmed=frozenset((trimmed,))
            )


def charades(source: Path) -> Iterator[Found]:
    """Of the training file every interval as a clip of one label; of the test file every video with all its labels.

    source: the folder of Charades_v1_train.csv, Charades_v1_test.csv and Charades_v1_classes.txt.
    Raises RecipeError.
    """
    classes = {}
    for path in files_in(source, ("*classes.txt",), "list of classes of Charades"):
        for _, text in lines_of(path):
            classes[text[:4]] = text[4:].strip()
    for side in ("train", "test"):
        for path in files_in(source, (f"*{side}.csv",), f"{side} list of Charades"):
            for line, row in _rows(path, _CHARADES):
                yield from _of_video(place(path, line), row, classes, side)


def _of_video(where: str, row: dict[str, str], classes: dict[str, str], side: str) -> Iterator[Found]:
    shown = []
    for action in filter(None, row["actions"].split(";")):
        parts = action.split()
        if len(parts) != 3 or parts[0] not in classes:
            raise refused(where, f"{action[:60]!r} is no class with two times", "write `c092 11.90 21.20`")
        start, end = (number(value, where, "a time") for value in parts[1:])
        shown.append((classes[parts[0]], start, end))
    if side == "test":
        if shown:
            yield Found(where, (row["id"],), tuple(label for label, _, _ in shown), side, group=row["id"])
        return
    for label, start, end in shown:
        if end > start:  # some intervals are empty as published
            yield Found(where, (row["id"],), (label,), side, start, end, row["id"])


def _rows(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(text_of(path).splitlines(), strict=True)
    lacking = [name for name in needed if name not in (reader.fieldnames or ())]
    if lacking:
        raise refused(place(path, 1), f"the header names no {', '.join(lacking)}", "take the list as it was published")
    try:
        for row in reader:
            if None in row or None in row.values():
                raise refused(place(path, reader.line_num), "it has more or fewer fields than the header", "correct it")
            yield reader.line_num, {name: value.strip() for name, value in row.items()}
    except csv.Error as error:
        raise refused(
            place(path, reader.reader.line_num), f"it is no row of CSV ({error})", "close its quotation marks"
        ) from error
