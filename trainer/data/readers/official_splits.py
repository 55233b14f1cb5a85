"""The official splits of UCF101 and HMDB51.

UCF101   classInd.txt             1 ApplyEyeMakeup
         trainlist01.txt          ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1
         testlist01.txt           ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi
HMDB51   brush_hair_test_split1.txt    April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1     (1 train, 2 test, 0 neither)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from trainer.data.readers.found import Found, files_in, lines_of, place, refused

_UCF = re.compile(
    r"(?:(?P<folder>[^/\s]+)/)?(?P<file>v_(?P<label>\w+?)_(?P<group>g\d+)_c\d+)(?:\.\w+)?(?:\s+(?P<index>\d+))?"
)
_HMDB = re.compile(r"(?P<file>.+?)\s+(?P<use>[012])")
_USES = {"1": "train", "2": "test"}


def ucf101(source: Path, split: int) -> Iterator[Found]:
    """The clips of split 1, 2 or 3. Groups are the recordings that clips were cut from. Raises RecipeError."""
    classes = _classes(source / "classInd.txt")
    for name, side in ((f"trainlist{split:02d}.txt", "train"), (f"testlist{split:02d}.txt", "test")):
        path = source / name
        for line, text in lines_of(path):
            where, found = place(path, line), _UCF.fullmatch(text)
            if found is None or found["label"] not in classes.values():
                raise refused(
                    where, f"{text[:80]!r} names no clip of UCF101", "take the file from the published archive"
                )
            if found["index"] and classes.get(int(found["index"])) != found["label"]:
                raise refused(
                    where, f"its class is {found['index']}, which classInd.txt does not call {found['label']}",
                    "take both files from one archive",
                )  # fmt: skip
            label = found["label"]
            yield Found(
                where, (f"{label}/{found['file']}", found["file"]), (label,), side, group=f"{label} {found['group']}"
            )


def _classes(path: Path) -> dict[int, str]:
    classes = {}
    for line, text in lines_of(path):
        index, _, name = text.partition(" ")
        if not index.isdigit() or not name.strip():
            raise refused(place(path, line), f"{text[:80]!r} is no number and class", "write `1 ApplyEyeMakeup`")
        classes[int(index)] = name.strip()
    return classes


def hmdb51(source: Path, split: int) -> Iterator[Found]:
    """The clips of split 1, 2 or 3; those that a split does not use are left out. Raises RecipeError."""
    ending = f"_test_split{split}.txt"
    for path in files_in(source, (f"*{ending}",), f"lists of split {split} of HMDB51"):
        label = path.name.removesuffix(ending)
        for line, text in lines_of(path):
            found = _HMDB.fullmatch(text)
            if found is None:
                raise refused(place(path, line), f"{text[:80]!r} is no file and 0, 1 or 2", "write `FILE.avi 1`")
            if found["use"] in _USES:
                stem = Path(found["file"]).stem
                yield Found(place(path, line), (f"{label}/{stem}", stem), (label,), _USES[found["use"]])
