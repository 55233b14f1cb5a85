"""What a reader finds, whichever form it reads; lines for messages; and the files that belong to it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from trainer.data.decode import frame_rate
from trainer.data.folder import VIDEOS
from trainer.data.manifest import Clip
from trainer.errors import RecipeError, VideoError
from trainer.models.text.templates import spaced

ENCODING = "utf-8-sig"


@dataclass(frozen=True)
class Found:
    """One clip of an annotation: where it stands there, what its file may be called, and what it shows."""

    where: str
    """`FILE, line N`."""
    files: tuple[str, ...]
    """Names of its file below the folder of videos, likeliest first; an ending may be missing."""
    labels: tuple[str, ...]
    """Empty for background."""
    split: str = "train"
    start: float = 0.0
    end: float | None = None
    group: str = ""
    trimmed: frozenset[str] = frozenset()
    """Those of the names whose files hold nothing but the clip: start and end do not apply to them."""
    frames: bool = False
    """Whether start and end count frames, in place of seconds."""


def place(path: Path, line: int) -> str:
    """Where something stands, for a message."""
    return f"{path}, line {line}"


def refused(where: str, reason: str, remedy: str) -> RecipeError:
    """The error for something that cannot be read there."""
    return RecipeError(f"{where}: {reason}; {remedy}")


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not empty, with their numbers. Raises RecipeError."""
    for number, line in enumerate(text_of(path).splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def text_of(path: Path) -> str:
    """The text of a file. Raises RecipeError."""
    try:
        return path.read_text(ENCODING)
    except FileNotFoundError as error:
        raise RecipeError(f"there is no {path}; name the file or folder that the annotations came in") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise refused(place(path, line), "it is no text in UTF-8", "save it as UTF-8") from error
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}") from error


def entries_of(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON list, each with the line that it begins on. Raises RecipeError."""
    text, decoder = text_of(path), json.JSONDecoder()
    at = _past_blanks(text, 0)
    if text[at : at + 1] != "[":
        raise refused(place(path, _line(text, at)), "it is no JSON list", "export the annotations as JSON anew")
    at = _past_blanks(text, at + 1)
    while text[at : at + 1] != "]":
        line = _line(text, at)
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise refused(
                place(path, line), f"the JSON that begins there is broken ({error})", "export it anew"
            ) from error
        if not isinstance(value, dict):
            raise refused(place(path, line), "the entry is no object", "export the annotations as JSON anew")
        yield line, value
        at = _past_blanks(text, at)
        if text[at : at + 1] == ",":
            at = _past_blanks(text, at + 1)
        elif text[at : at + 1] != "]":
            raise refused(place(path, _line(text, at)), "the list is not closed", "the file was cut; fetch it again")


def _past_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def number(value: Any, where: str, name: str) -> float:
    """A finite, non-negative number. Raises RecipeError."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = -1.0
    if isinstance(value, bool) or not 0 <= found < 1e9:
        raise refused(where, f"{name} is {str(value)[:60]!r}, no number of seconds or frames", "correct it")
    return found


def clips_of(found: Iterable[Found], videos: Path, *, skip_missing: bool = False) -> tuple[list[Clip], list[str]]:
    """The clips whose files lie in the folder of videos or below it, and the places of those that do not.

    Raises RecipeError for the first file that is not there, unless those are to be left out, and for no clip at all.
    """
    if not videos.is_dir():
        raise RecipeError(f"there is no folder {videos}; name the one that holds the videos with --videos")
    known, clips, missing = _index(videos), [], []
    for one in list(found):  # a form that is wrong is said before a file that is missing
        name = next((name for name in one.files if _key(name) in known), None)
        if name is not None:
            clips.append(_clip(one, known[_key(name)], whole=name in one.trimmed))
        elif skip_missing:
            missing.append(f"{one.where}: {one.files[0]}")
        else:
            remedy = "fetch it, or leave such clips out with --skip-missing"
            raise refused(one.where, f"no file {one.files[0]} lies in {videos}", remedy)
    if not clips:
        raise RecipeError(
            f"none of the clips has a file in {videos}; name the folder that holds the videos with --videos"
        )
    return clips, missing


def _clip(one: Found, path: Path, *, whole: bool) -> Clip:
    start, end = (0.0, None) if whole else (one.start, one.end)
    if end is not None and end <= start:
        raise refused(one.where, f"end {end:g} does not lie behind start {start:g}", "correct it")
    if one.frames and end is not None:
        per_second = _rate(path, one.where)
        start, end = start / per_second, end / per_second
    labels = tuple(dict.fromkeys(map(spaced, one.labels)))
    role = "action" if labels else "background"
    return Clip(str(path), (labels or ("",))[0], start, end, one.split, labels[1:], one.group, role)


@cache
def _rate(path: Path, where: str) -> float:
    try:
        return frame_rate(path)
    except VideoError as error:
        raise refused(
            where, f"its frames cannot be told in seconds: {error}", "name the video by another file"
        ) from error


def _index(videos: Path) -> dict[str, Path]:
    """The videos of a folder by their path from it and by their name alone, with and without ending."""
    known: dict[str, Path] = {}
    for path in sorted(videos.rglob("*")):
        if path.suffix.lower() in VIDEOS and path.is_file():
            inside = path.relative_to(videos).as_posix()
            for name in (inside, inside.removesuffix(path.suffix), path.name, path.stem):
                known.setdefault(name, path)
    return known


def _key(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


def files_in(folder: Path, patterns: Sequence[str], what: str) -> list[Path]:
    """The files of a folder that match one of the patterns, in alphabetical order; a file is taken as it is.

    Raises RecipeError where there is none.
    """
    if folder.is_file():
        return [folder]
    found = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    if not found:
        raise RecipeError(f"{folder} holds no {what} ({', '.join(patterns)}); name the folder they were published in")
    return found
