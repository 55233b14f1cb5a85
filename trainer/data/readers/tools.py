"""What annotation tools export: CVAT's XML for videos (1.1), and Label Studio's JSON.

Timelines count frames; the seconds follow from the file.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

from trainer.data.readers.found import Found, entries_of, number, place, refused, text_of

_HASHED = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the names of uploaded files."""


def cvat(source: Path) -> Iterator[Found]:
    """A clip per track and stretch in which it is visible; a track's label is that of the clip. Raises RecipeError."""
    root, lines = _xml(source)
    name = root.findtext("meta/source") or root.findtext("meta/task/source") or root.findtext("meta/task/name")
    tracks = root.findall("track")
    if not name or not tracks:
        missing = "names no video (meta/source)" if tracks else "holds no track"
        raise refused(place(source, 1), f"it {missing}", "export the task as `CVAT for video 1.1`")
    for track in tracks:
        label, where = track.get("label"), place(source, lines[track])
        if not label:
            raise refused(where, "the track has no label", "give it one in CVAT and export anew")
        shapes = [
            (int(number(shape.get("frame"), place(source, lines[shape]), "frame")), shape.get("outside") == "1")
            for shape in track
        ]
        for first, last in _visible(shapes):
            yield Found(where, (name,), (label,), start=first, end=last, group=name, frames=True)


def _visible(shapes: list[tuple[int, bool]]) -> Iterator[tuple[int, int]]:
    """The stretches [first, last) of frames between a shape that is inside and the next that is outside."""
    first = None
    for frame, outside in sorted(shapes):
        if outside and first is not None:
            yield first, frame
            first = None
        elif not outside and first is None:
            first = frame
    if first is not None:
        yield first, max(frame for frame, _ in shapes) + 1


def _xml(path: Path) -> tuple[ElementTree.Element, dict[ElementTree.Element, int]]:
    """The root of a document, and the line on which each of its elements begins."""
    lines: dict[ElementTree.Element, int] = {}
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()

    def begin(name: str, attributes: dict[str, str]) -> None:
        lines[builder.start(name, attributes)] = parser.CurrentLineNumber

    def declared(*_: Any) -> None:
        raise refused(
            place(path, parser.CurrentLineNumber), "it declares a document type", "CVAT writes none; export it anew"
        )

    parser.StartElementHandler, parser.EndElementHandler = begin, builder.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, declared
    try:
        parser.Parse(text_of(path).encode(), True)
    except expat.ExpatError as error:
        raise refused(
            place(path, error.lineno), f"it is no whole XML ({expat.ErrorString(error.code)})", "export it anew"
        ) from error
    return builder.close(), lines


def label_studio(source: Path) -> Iterator[Found]:
    """A clip per labelled stretch of a timeline, or per chosen class of a whole video. Raises RecipeError."""
    for line, task in entries_of(source):
        where, data = place(source, line), task.get("data")
        name = (
            next((str(value) for value in data.values() if isinstance(value, str)), "")
            if isinstance(data, dict)
            else ""
        )
        if not name:
            raise refused(where, "the task names no video in `data`", "export it as JSON, not JSON-MIN")
        file = name.split("?")[0].split("/")[-1]
        files = (file, _HASHED.sub("", file))
        annotations = task.get("annotations")
        if not isinstance(annotations, list):
            raise refused(where, "the task has no list of annotations", "export it as JSON, not JSON-MIN")
        for annotation in annotations:
            if isinstance(annotation, dict) and not annotation.get("was_cancelled"):
                yield from _results(where, files, annotation.get("result"))


def _results(where: str, files: tuple[str, ...], results: Any) -> Iterator[Found]:
    for result in results if isinstance(results, list) else ():
        given = result if isinstance(result, dict) else {}
        kind, value = str(given.get("type")), given.get("value")
        value = value if isinstance(value, dict) else {}
        labels = value.get(kind)
        if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
            reason = f"a result of the type {kind!r} names no labels"
            raise refused(where, reason, "use TimelineLabels, Labels or Choices")
        if kind == "choices":
            yield Found(where, files, tuple(labels), group=files[0])
            continue
        for part in (value.get("ranges") or ()) if kind == "timelinelabels" else (value,):
            start, end = (number(part.get(name), where, name) for name in ("start", "end"))
            if kind == "timelinelabels":  # frames are counted from 1, both ends included
                yield Found(where, files, tuple(labels), start=start - 1, end=end, group=files[0], frames=True)
            else:
                yield Found(where, files, tuple(labels), start=start, end=end, group=files[0])
