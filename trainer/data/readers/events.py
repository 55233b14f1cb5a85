"""Our own event log, judged by a person: one JSON object per line, an event as it was published and a verdict.

{"id": "...", "phase": "ended", "camera": "gate", "label": {"text": "a person falls"}, ..., "verdict": "right",
 "start": "2026-01-01T00:00:04.000Z", "end": "2026-01-01T00:00:06.000Z"}

`right`: the label happens in it. `wrong`: it does not; the stretch is background, or what `truth` says in words. Events
without a verdict, and messages of events that go on, are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from trainer.data.readers.found import Found, lines_of, place, refused

VERDICTS = ("right", "wrong")


def event_log(source: Path, began: datetime) -> Iterator[Found]:
    """A clip per judged event, of the recording called by its camera, which began at that time. Raises RecipeError."""
    for line, text in lines_of(source):
        where = place(source, line)
        try:
            event = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise refused(where, f"it is no JSON ({error})", "write one event per line") from error
        if not isinstance(event, dict):
            raise refused(where, "it is no object", "write one event per line")
        verdict = event.get("verdict")
        if verdict is None or event.get("phase") != "ended":
            continue
        if verdict not in VERDICTS:
            raise refused(where, f"verdict {str(verdict)[:40]!r} is none of {', '.join(VERDICTS)}", "correct it")
        camera = event.get("camera")
        if not isinstance(camera, str) or not camera:
            raise refused(where, "it names no camera", "keep the event as it was published")
        start, end = (_seconds(event, name, began, where) for name in ("start", "end"))
        yield Found(where, (camera,), _labels(event, verdict, where), start=start, end=end, group=camera)


def _labels(event: dict[str, Any], verdict: str, where: str) -> tuple[str, ...]:
    label, truth = event.get("label"), event.get("truth")
    text = label.get("text") if isinstance(label, dict) else None
    if not isinstance(text, str) or not text:
        raise refused(where, "it has no label with a text", "keep the event as it was published")
    if truth is not None and (not isinstance(truth, str) or verdict == "right"):
        raise refused(where, "`truth` says in words what a wrong event shows", "write a text, beside the verdict wrong")
    return (text,) if verdict == "right" else (truth,) if truth else ()


def _seconds(event: dict[str, Any], name: str, began: datetime, where: str) -> float:
    try:
        seconds = (datetime.fromisoformat(str(event.get(name))) - began).total_seconds()
    except (ValueError, TypeError) as error:
        raise refused(
            where, f"{name} is {str(event.get(name))[:40]!r}, no time", "keep it as it was published"
        ) from error
    if seconds < 0:
        raise refused(where, f"{name} lies before {began.isoformat()}, when the recording began", "give --began")
    return seconds
