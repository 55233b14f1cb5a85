"""A machine's runs of the bench, one after another in a file, so that a change can be compared with what was before."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from engines.errors import EngineError


class HistoryDamaged(EngineError, ValueError):
    """A file of former runs cannot be read, and is not overwritten."""


def append(folder: Path, figures: Mapping[str, object], *, at: str, commit: str | None) -> Path:
    """Add a run to the file of its machine, and return the file.

    figures: with `machine` and `threads`, which name the file. at: when, RFC 3339. commit: of the code, if known.
    Raises HistoryDamaged where the file holds anything but a list of runs.
    """
    file = folder / f"{_slug(str(figures['machine']))}-{figures['threads']}-threads.json"
    runs = _runs(file)
    temporary = file.with_suffix(".json.tmp")
    temporary.write_text(
        json.dumps([*runs, {"at": at, "commit": commit, **figures}], indent=1) + "\n", encoding="utf-8"
    )
    temporary.replace(file)
    return file


def _runs(file: Path) -> list[object]:
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise HistoryDamaged(f"{file} cannot be read ({error}); mend it or move it away") from error
    if not isinstance(found, list) or not all(isinstance(run, dict) for run in found):
        raise HistoryDamaged(f"{file} is no list of runs; mend it or move it away")
    return found


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unknown"
