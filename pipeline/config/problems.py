"""What is wrong with settings, in words: the key, the reason and the remedy.

The values are left out, because they may be secrets. Only their kind is told.
"""

from __future__ import annotations

import difflib
from datetime import date, datetime
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from pipeline.config.cameras import CameraSettings
from pipeline.config.labels import LabelSettings
from pipeline.config.settings import Settings

Location: TypeAlias = tuple[int | str, ...]

_MOST_PROBLEMS = 10
"""How many problems one message names."""
_SHAPES = frozenset({"dict_type", "model_type", "model_attributes_type", "tuple_type", "list_type"})
"""Kinds of problems in which a group of values was expected, and something else was found."""
_KINDS = {
    type(None): "empty",
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "a text",
    date: "a date",
    datetime: "a date",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
}
_CAMERA = "{url: rtsp://HOST/PATH}"


def explain(error: ValidationError, section: tuple[str, ...] = ()) -> str:
    """Every problem in words, in one line. section: where the settings that were checked belong."""
    found = error.errors()
    words = [_problem((*section, *one["loc"]), one["type"], one["msg"], one["input"]) for one in found[:_MOST_PROBLEMS]]
    more = [f"and {len(found) - len(words)} more"] if len(found) > len(words) else []
    return "; ".join([*words, *more])


def one_line(text: str, longest: int = 300) -> str:
    """A message without line breaks and other marks that a terminal would act on, cut where it is long."""
    plain = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text[: longest + 1])
    return plain if len(plain) <= longest else plain[:longest] + "..."


def _problem(location: Location, kind: str, message: str, value: Any) -> str:
    name = ".".join(one_line(str(part), 60) for part in location if part != "[key]")
    if kind == "extra_forbidden":
        return f"{name}: {_unknown_key(location)}"
    if kind in _SHAPES:
        reason = f"it is {_kind(value)}; {_form(location)}"
    elif kind == "string_type":
        remedy = "write one text" if value is None or isinstance(value, dict | list) else "put it in quotes"
        reason = f"it is {_kind(value)}, not a text; {remedy}"
    elif kind == "string_pattern_mismatch" and location[0] == "cameras" and location[-1] == "[key]":
        reason = "an id begins with a letter or digit and has up to 100 of a-z, A-Z, 0-9, `_`, `.` and `-`; rename it"
    else:
        reason = one_line(message.removeprefix("Value error, "))
    return f"{name}: {reason}" if name else reason  # what is wrong between two sections has no one name


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "something else")


def _form(location: Location) -> str:
    """The form that is wanted where something else stands."""
    first, *rest = location
    if first == "labels":
        return (
            "write a text, in quotes where it looks like a number or like yes, no, on or off"
            if rest
            else ("write a list of texts, such as `- a person falls down`")
        )
    if first != "cameras":
        keys = _keys(location)
        return f"write its keys, such as `{keys[0]}: ...`" if keys else "write a mapping of keys"
    if not rest:
        return f"write each camera as `ID: {_CAMERA}`, such as `front-door: {_CAMERA}`"
    if rest[0] in CameraSettings.model_fields:
        return f"the id of a camera belongs here, with {rest[0]} below it: `front-door: {_CAMERA}`"
    return f"write `url:` before its address: `{one_line(str(rest[0]), 60)}: {_CAMERA}`"


def _unknown_key(location: Location) -> str:
    keys = _keys(location[:-1])
    if near := difflib.get_close_matches(str(location[-1])[:60], keys, n=1):
        return f"unknown key, did you mean {near[0]!r}?"
    indented = "" if len(location) > 1 else "; is its line indented too little?"
    return f"unknown key; known: {', '.join(keys)}{indented}"


def _keys(location: Location) -> list[str]:
    models: dict[str, type[BaseModel]] = {"cameras": CameraSettings, "labels": LabelSettings}
    if not location:
        return sorted(Settings.model_fields)
    first = str(location[0])
    if first in models:
        return sorted(models[first].model_fields)
    kind = Settings.model_fields[first].annotation if first in Settings.model_fields else None
    return sorted(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []
