"""JSON of strangers: text in, plain values out, or a ValueError.

The standard library's parser takes more than RFC 8259 promises to carry between programs: NaN and Infinity, numbers
that become infinite, a name that stands twice (the last one counts, without a word), half of a surrogate pair, which
cannot be printed or written, and nesting as deep as the stack is. Here each of these is an error.
"""

from __future__ import annotations

import json
import math
from typing import Any

DEEPEST = 64
"""Levels of nesting; nothing that Actionwire writes has more than ten."""
MOST_BYTES = 32 * 1024 * 1024
"""Size of a document; the largest that Actionwire writes is a set of labels, and has a few of them at most."""

SHORT = 60
"""Characters of a stranger's text that a message repeats."""


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; bytes are UTF-8 without a byte order mark.

    Numbers are finite, names are unique, all texts can be encoded, and nothing nests deeper than `DEEPEST`.
    Raises ValueError that names what is wrong; it quotes little of the text.
    """
    if len(text) > MOST_BYTES:
        raise ValueError(f"{len(text)} bytes, at most {MOST_BYTES} are read")
    if isinstance(text, bytes):
        text = text.decode()  # json.loads would guess the encoding, and let halves of surrogate pairs pass
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_no_constant, object_pairs_hook=_each_name_once)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if text.count("[") + text.count("{") > DEEPEST and _depth(value) > DEEPEST:
        raise ValueError(_TOO_DEEP)
    if "\\u" in text or not text.isascii():
        _check_text(value)
    return value


def short(value: object) -> str:
    """Return what a stranger wrote for use in a message: on one line, in ASCII, and cut short."""
    text = ascii(value[:SHORT] if isinstance(value, str | bytes) else value)
    return text if len(text) <= SHORT else text[:SHORT] + "..."


_TOO_DEEP = f"lists and objects are nested deeper than {DEEPEST} levels"


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {digits[:40]} is too large")
    return number


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {short(twice)} stands twice in one object")
    return found


def _depth(value: Any) -> int:
    """Levels of lists and objects, counted one by one: the stack is not at stake."""
    level, here = 0, [value]
    while here := [one for one in here if isinstance(one, list | dict)]:
        level += 1
        if level > DEEPEST:
            break
        here = [inner for one in here for inner in (one.values() if isinstance(one, dict) else one)]
    return level


def _check_text(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text holds half of a surrogate pair, which is no character") from None
