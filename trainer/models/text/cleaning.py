"""open_clip's text cleaning as normalisers of the `tokenizers` library, so that it travels inside `tokenizer.json`.

open_clip cleans a text with ftfy, unescapes HTML twice, collapses white space and lower-cases or, for SigLIP,
canonicalises (drops punctuation, turns `_` into a space). Whatever depends on single characters or short runs of them
is expressed here. The rest is not, and may give other token ids:

- mojibake: texts in which ftfy sees wrongly decoded bytes (`ftfy.fix_text(t) != ftfy.fix_text(t, fix_encoding=False)`);
- HTML references by a name of HTML 5 that HTML 4 had not and ASCII has no sign for, or by the number of a character
  outside Latin-1, general punctuation and HTML 4's names; references written in pieces (`&a&#109;p;`) or nested more
  than twice; and, in a text that also holds a bare `<`, references to a character that ftfy would rewrite and names
  in capitals (`&EACUTE;`);
- lone surrogates, which are no text at all, and characters newer than the Unicode tables of either library.
"""

from __future__ import annotations

import html
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from html.entities import html5, name2codepoint
from typing import Literal

from tokenizers import Regex
from tokenizers.normalizers import NFC, Lowercase, Normalizer, Replace, Sequence, Strip

Cleaning = Literal["lower", "whitespace", "canonicalize"]
"""open_clip's names of its cleaning functions."""

# What str.split() takes for white space, less the ASCII controls that are dropped before.
_SPACES = (
    r"[\x{09}\x{0A}\x{0C}\x{0D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}]+"
)
_TERMINAL_ESCAPES = r"\x{1B}\[[\p{Nd};]*[a-zA-Z]"
_CONTROLS = r"[\x{00}-\x{08}\x{0B}\x{0E}-\x{1F}\x{7F}\x{206A}-\x{206F}\x{FEFF}\x{FFF9}-\x{FFFC}]"  # as ftfy, UTR 20
_DOUBLE_QUOTES, _SINGLE_QUOTES = r"[\x{201C}-\x{201F}]", r"[\x{02BC}\x{2018}-\x{201B}]"
_PUNCTUATION = r"[!-/:-@\[-\^`{-~]"  # string.punctuation without the underscore
# A capital sigma ends a word when a cased letter stands before it and none after it (Unicode 3.13, Final_Sigma).
# Onigmo's look-behind is of bounded length, so at most three marks may stand between.
_CASED, _MARK = r"[\p{Cased}&&\P{Case_Ignorable}]", r"\p{Case_Ignorable}"
_FINAL_SIGMA = rf"(?<={_CASED}|{_CASED}{_MARK}|{_CASED}{_MARK}{{2}}|{_CASED}{_MARK}{{3}})Σ(?!{_MARK}*{_CASED})"

_LIGATURES = "ĲĳŉǄǅǆǇǈǉǊǋǌǱǲǳﬀﬁﬂﬃﬄﬅﬆ"
_NUMBERED = (*range(256), *range(0x2000, 0x2070), 0xFFFD)


def cleaning(kind: Cleaning) -> Normalizer:
    """The normaliser that cleans as open_clip's `get_clean_fn(kind)`, except for the texts named above."""
    steps: list[Normalizer] = [*_repairs(), *_unescape(), *_simplifications(), NFC()]
    if kind == "canonicalize":
        steps += [Replace("_", " "), Replace(Regex(_PUNCTUATION), "")]
    if kind != "whitespace":
        steps += [Replace(Regex(_FINAL_SIGMA), "ς"), Lowercase()]
    return Sequence([*steps, Replace(Regex(_SPACES), " "), Strip()])


def _repairs() -> list[Normalizer]:
    # First, because a full-width & or a control character inside it would hide a reference from the next step.
    wide = {chr(point): unicodedata.normalize("NFKC", chr(point)) for point in (0x3000, *range(0xFF01, 0xFFF0))}
    return [
        Replace(Regex(_TERMINAL_ESCAPES), ""),
        Replace(Regex(_CONTROLS), ""),
        *(Replace(old, new) for old, new in wide.items() if old != new),
    ]


def _simplifications() -> list[Normalizer]:
    controls = {chr(point): _windows_1252(point) for point in range(0x80, 0xA0)}
    ligatures = {old: _compatible(old) for old in _LIGATURES}
    return [
        *(Replace(old, new) for old, new in (controls | ligatures).items() if old != new),
        Replace(Regex(_DOUBLE_QUOTES), '"'),
        Replace(Regex(_SINGLE_QUOTES), "'"),
    ]


def _windows_1252(point: int) -> str:
    try:
        return bytes([point]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(point)


def _compatible(ligature: str) -> str:
    # One level only: the long s of ﬅ stays.
    points = unicodedata.decomposition(ligature).split()[1:]
    return "".join(chr(int(point, 16)) for point in points)


def _unescape() -> list[Normalizer]:
    """One replacement per character that has references, `&` first so that `&amp;lt;` ends as `<`.

    A replacement costs a pass over the text, half a microsecond for a short one: HTML 5's 1500 characters would cost
    more than the rest of the tokenizer.
    """
    forms: dict[str, list[str]] = defaultdict(list)
    for name, target in _names():
        forms[target].append(f"{name};")
    points = {*_NUMBERED, *(ord(target) for target in forms if len(target) == 1)}
    for point in sorted(points):
        target = html.unescape(f"&#{point};")
        forms[target] += [rf"#0*{point}(?![0-9]);?", rf"#[xX]0*(?i:{point:x})(?![0-9a-fA-F]);?"]
    nested = "|".join(["amp;?", "AMP;?", *forms.pop("&")])
    steps: list[Normalizer] = [Replace(Regex(f"&(?:{nested})+"), "&")]
    steps += [Replace(Regex(f"&(?:{'|'.join(names)})"), target) for target, names in forms.items()]
    # Names that HTML knows without a semicolon too, the longest first: `&notin` is `¬in`, but `&notin;` is one sign.
    bare = sorted((name for name in html5 if not name.endswith(";")), key=lambda name: (-len(name), name))
    return steps + [Replace(f"&{name}", html5[name]) for name in bare if name not in ("amp", "AMP")]


def _names() -> Iterable[tuple[str, str]]:
    """Names of HTML 4 and the character each stands for; then the same in capitals, as ftfy reads `&EACUTE;`."""
    bare = {name.rstrip(";"): target for name, target in html5.items()}
    names = {name: target for name, target in bare.items() if name in name2codepoint or target < "\x80"}
    yield from names.items()
    for name, target in names.items():
        if name == name.lower() and f"{name.upper()};" not in html5:
            yield name.upper(), target.upper()
