"""Where the real footage lies, and its clips. It is no part of the project, and is never copied into it."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from trainer.data.manifest import Clip
from trainer.errors import RecipeError

VARIABLE = "ACTIONWIRE_FOOTAGE"
BESIDE = Path(__file__).parents[2].parent / "shared" / "data"
"""The folder `shared/data` beside the checkout."""

UT, FIGHT = "ut_interaction", "surv_fight"
_QUIET = "surveillance_quiet/one-by-one-person-detection.mp4"


FIGHTING = "people fight"
_WORDS = {"fight": FIGHTING, "noFight": "people go about their day"}
"""What the class names of the data sets say in words that a sentence encoder reads."""


def place(given: Path | None = None) -> Path:
    """The folder of the footage: the given one, that of the environment, or the one beside the checkout.

    Raises RecipeError where it is not there.
    """
    folder = given or Path(os.environ.get(VARIABLE) or BESIDE)
    missing = [name for name in (UT, FIGHT, _QUIET) if not (folder / name).exists()]
    if missing:
        raise RecipeError(
            f"the real footage is not at {folder}: {', '.join(missing)} missing; name its folder with --footage or "
            f"{VARIABLE}"
        )
    return folder


def clips(folder: Path, name: str) -> list[Clip]:
    """The clips of a data set; the group is the sequence or the source video."""
    with (folder / name / "MANIFEST.csv").open(encoding="utf-8", newline="") as stream:
        return [
            Clip(str(folder / name / row["path"]), _words(row["label"]), group=row["subject"])
            for row in csv.DictReader(stream)
        ]


def quiet(folder: Path) -> Clip:
    """139 s of a surveillance camera in which people walk, and nothing else happens."""
    return Clip(str(folder / _QUIET), "", role="background")


def _words(label: str) -> str:
    return _WORDS.get(label, label.replace("_", " "))
