"""One form for what is equal: JSON with the same bytes, texts that compare the same. Pure."""

from __future__ import annotations

import json
import unicodedata


def canonical_json(data: object) -> bytes:
    """Return the one JSON text of `data`: sorted keys, no spaces, UTF-8.

    Raises ValueError for NaN and infinities, which JSON does not know.
    """
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def spaced(text: str) -> str:
    """Return the text with one space between two words and none at its ends."""
    return " ".join(text.split())


def folded(text: str) -> str:
    """Return the form in which texts are compared: spaces, case and the Unicode spelling do not count (NFKC)."""
    return spaced(unicodedata.normalize("NFKC", text)).casefold()


def words(name: str) -> str:
    """Return a class name as words: `ApplyEyeMakeup` and `apply_eye_makeup` become `apply eye makeup`.

    A text that is no class name keeps its capitals, with one space between two words.
    """
    name = spaced(unicodedata.normalize("NFC", name))
    parted = ""
    for before, one, after in zip(f" {name}", name, f"{name[1:]} ", strict=False):
        after_word = before.islower() or before.isdigit() or (before.isupper() and after.islower())
        parted += f" {one}" if one.isupper() and after_word else one
    parted = parted.replace("_", " ")
    return spaced(parted).lower() if parted != name else name
