"""Something-Something, version 2: JSON lists by split, and files called by their number.

something-something-v2-train.json   [{"id": "78687", "template": "Holding [something] next to [something]", ...}, ...]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trainer.data.readers.found import Found, entries_of, files_in, place, refused

_SIDES = {"train": "train", "validation": "validate"}


def something_something(source: Path) -> Iterator[Found]:
    """The clips of the training and the validation list of a folder; labels are templates without brackets.

    Raises RecipeError.
    """
    for path in files_in(source, tuple(f"*{side}.json" for side in _SIDES), "lists of Something-Something"):
        side = next((split for name, split in _SIDES.items() if path.stem.endswith(name)), "train")
        for line, entry in entries_of(path):
            where = place(path, line)
            identity, template = entry.get("id"), entry.get("template")
            if not isinstance(template, str) or not template.strip():
                raise refused(where, "it has no template", "the test list has no labels; give train and validation")
            if not isinstance(identity, str | int) or not str(identity):
                raise refused(where, "it has no id", "take the list as it was published")
            label = template.replace("[", "").replace("]", "")
            yield Found(where, (str(identity),), (label,), side)
