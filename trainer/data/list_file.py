"""Rows of a list of clips: CSV as spreadsheets write it, or JSON.

CSV: UTF-8 or UTF-16; comma, semicolon or tab between the columns; blanks and capitals of the header do not matter.
A row that does not fit the header is kept with its problem, so that all of them can be named at once.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.errors import RecipeError

COLUMNS = ("path", "label", "labels", "start", "end", "split", "group", "role")

_NAMES = ("labels.csv", "labels.json")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECIMAL_COMMA = re.compile(r"\s*\d+,\d+\s*")


@dataclass(frozen=True)
class Row:
    """One row: where it stands, its fields by column, and what is wrong with its form."""

    where: str
    fields: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None


def list_file(source: Path) -> Path:
    """The list itself: the file, or labels.csv or labels.json of a folder. Raises RecipeError."""
    if not source.is_dir():
        return source
    for name in _NAMES:
        if (source / name).is_file():
            return source / name
    raise RecipeError(
        f"{source} holds neither {' nor '.join(_NAMES)}; write one with rows of path and label, or let "
        f"`actionwire-trainer data {source}` write it"
    )


def read_rows(path: Path, needed: Sequence[Sequence[str]] = (("path",), ("label", "labels", "role"))) -> list[Row]:
    """The rows of a CSV or JSON file, in its order.

    needed: groups of columns, of which the header of a CSV file must have at least one each.
    Raises RecipeError for what cannot be read as a list at all.
    """
    try:
        text = _text(path.read_bytes(), path)
        if path.suffix.lower() == ".json":
            return _json_rows(text, path)
        return _csv_rows(text, path, needed)
    except (OSError, csv.Error, ValueError, RecursionError) as error:
        if isinstance(error, RecipeError):
            raise
        raise RecipeError(f"the list of clips {path} cannot be read: {' '.join(str(error).split())}") from error


def _text(data: bytes, path: Path) -> str:
    coding = next((coding for mark, coding in _MARKS if data.startswith(mark)), "utf-8")
    if coding == "utf-8" and b"\0" in data[:4]:  # UTF-16 without a mark
        coding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    try:
        return data.decode(coding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RecipeError(
            f"the list of clips {path} is not {coding.upper()} (line {line}, byte 0x{data[error.start]:02x}); save it "
            "as CSV UTF-8"
        ) from error


def _json_rows(text: str, path: Path) -> list[Row]:
    rows = json.loads(text)
    if not isinstance(rows, list):
        raise RecipeError(f"the list of clips {path} is no JSON list; write [{{...}}, ...] with path and label in each")
    return [
        Row(f"clip {number}", row) if isinstance(row, dict) else Row(f"clip {number}", problem=_no_object(row))
        for number, row in enumerate(rows, 1)
    ]


def _no_object(row: Any) -> str:
    return f"{shortened(row)} is no object; write {{...}} with path and label"


def _csv_rows(text: str, path: Path, needed: Sequence[Sequence[str]]) -> list[Row]:
    lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", text)
    first, separator = 0, None
    if lines[0].lower().startswith("sep="):  # Excel's own hint
        first, separator = 1, lines[0][4:5]
    header = next((line for line in lines[first:] if line.strip()), "")
    separator = separator or max(_SEPARATORS, key=header.count)
    reader = csv.reader(lines[first:], delimiter=separator, strict=True)
    columns: list[str] | None = None
    rows: list[Row] = []
    number, begins = first, first + 1
    while True:
        number, begins = number + 1, first + reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise RecipeError(_quoted(path, begins, str(error))) from error
        if fields is None:
            break
        if not any(value.strip() for value in fields):
            continue
        if columns is None:
            columns = _columns(fields, path, separator, needed)
        else:
            _one_row(fields, path, separator, begins)
            rows.append(_row(fields, columns, separator, f"row {number}"))
    return rows


def _quoted(path: Path, line: int, error: str) -> str:
    reason = (
        error
        if "field larger" in error
        else "a quotation mark is not closed, or text follows a closing one; close it, and double those inside a text"
    )
    return f"the list of clips {path}, row at line {line}: {reason}"


def _one_row(fields: Sequence[str], path: Path, separator: str, line: int) -> None:
    """Refuse a field that has swallowed rows: one of its lines begins with a file of the list's folder."""
    for value in fields:
        for inner in value.splitlines()[1:]:
            name = inner.split(separator)[0].strip()
            if separator in inner and name and is_file(path.parent / name):
                raise RecipeError(_quoted(path, line, ""))


def _columns(fields: Sequence[str], path: Path, separator: str, needed: Sequence[Sequence[str]]) -> list[str]:
    columns = [" ".join(name.split()).lower() for name in fields]
    between = _SEPARATORS.get(separator, separator)
    shown = shortened(", ".join(columns))
    for names in needed:
        if not set(names) & set(columns):
            raise RecipeError(
                f"the list of clips {path} has no column {names[0]}: its first row names {shown} ({between} between "
                "them); write path,label there, and start,end,split,group,role as you need them"
            )
    if twice := [name for name in COLUMNS if columns.count(name) > 1]:
        raise RecipeError(f"the list of clips {path} has two columns {twice[0]}; keep one")
    return columns


def _row(fields: list[str], columns: list[str], separator: str, where: str) -> Row:
    found: dict[str, Any] = dict(zip(columns, fields, strict=False))
    for column in ("start", "end"):
        if separator != "," and _DECIMAL_COMMA.fullmatch(found.get(column, "")):
            found[column] = found[column].replace(",", ".")
    if any(value.strip() for value in fields[len(columns) :]):
        return Row(
            where, found,
            f"it has {len(fields)} fields, the header {len(columns)}; put quotation marks around a text that holds "
            f"{_SEPARATORS.get(separator, separator)}",
        )  # fmt: skip
    return Row(where, found)


def is_file(path: Path) -> bool:
    """Whether a file is there; False for what cannot be a path."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def shortened(value: object, most: int = 60) -> str:
    """A value for a message, in one line of at most `most` characters."""
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 3] + "..."
