"""Events in files, as `actionwire watch --json` and `actionwire replay --json` write them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import BadRecordError, ConfigurationError
from pipeline.records.events import ActionEvent, decode_event

STDIN = Path("-")


def read_events(path: Path) -> Iterator[ActionEvent]:
    """Yield the events of a file, one JSON document per line; `-` reads stdin. Raises ConfigurationError."""
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip():
            try:
                yield decode_event(line.encode(errors="replace"))
            except BadRecordError as error:
                raise ConfigurationError(f"{path}, line {number}: {error}") from error


def read_text(path: Path) -> str:
    """Return the text of a file; `-` reads stdin. Raises ConfigurationError."""
    try:
        return sys.stdin.read() if path == STDIN else path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error
