"""The material of a calibration: streams that decide and streams that measure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

from pydantic import BaseModel, Field, ValidationError

from engines.truth import repeated, spans
from trainer.errors import CalibrationError
from trainer.models.text.templates import same_words

PARTS = ("fit", "quiet", "held_back", "held_back_quiet")


class ActionTruth(TypedDict):
    """An action that happens, in seconds from the beginning of its camera's file."""

    label: str
    start: float
    end: float


class CameraTruth(TypedDict):
    """What happens in front of a camera, whose file is `seconds` long."""

    id: str
    seconds: float
    actions: list[ActionTruth]


class Truth(TypedDict):
    """A truth document, as `actionwire evaluate` reads it."""

    schema: int
    cameras: list[CameraTruth]


@dataclass(frozen=True)
class Recorded:
    """Video files by camera id, and the truth about them."""

    files: dict[str, Path]
    truth: Truth

    @property
    def hours(self) -> float:
        """Length of all streams together."""
        return sum(camera["seconds"] for camera in self.truth["cameras"]) / 3600

    def write_truth(self, path: Path) -> Path:
        """Write the truth as JSON for `actionwire evaluate`."""
        path.write_text(json.dumps(self.truth), "utf-8")
        return path


@dataclass(frozen=True)
class Material:
    """`fit` and `quiet` (nothing happens in those) decide the thresholds of `labels`; the other two measure them.

    The quiet ones may be empty. `sources` says for each part where it comes from.
    """

    fit: Recorded
    quiet: Recorded
    held_back: Recorded
    held_back_quiet: Recorded
    labels: tuple[str, ...]
    sources: Mapping[str, dict[str, str]]
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What else the report says of them."""


class _Action(BaseModel):
    label: str
    start: float
    end: float


class _Camera(BaseModel):
    id: str
    file: Path
    seconds: float | None = None
    actions: list[_Action]


class _Document(BaseModel):
    version: Literal[1] = Field(alias="schema")
    seconds: float | None = None
    cameras: list[_Camera]


def own(fit: Path, held_back: Path) -> Material:
    """The user's recordings, described by two truth documents as `actionwire evaluate` reads them.

    Every camera names its video in `file`, relative to the document, and is `seconds` long; starts and ends are seconds
    from its beginning. Cameras without actions are the quiet ones. Class names such as OpenDoor become words, as in a
    list of clips. Raises CalibrationError for unusable documents.
    """
    deciding, measuring = _read(fit), _read(held_back)
    if both := sorted({*deciding.files.values()} & {*measuring.files.values()}):
        raise CalibrationError(f"{both[0]} would both fit and measure the thresholds; name it in one document only")
    labels, measured = _labels(deciding), _labels(measuring)
    if not labels or not measured:
        raise CalibrationError(f"{held_back if labels else fit} names no actions; there is nothing to calibrate to")
    if same := same_words((*labels, *measured)):
        raise CalibrationError(f"{fit} and {held_back} name {same[0]!r} and {same[1]!r}, one action; write it one way")
    if unknown := [label for label in measured if label not in labels]:
        raise CalibrationError(f"{unknown[0]!r} happens in {held_back} only; show it in {fit} too, to be fitted to it")
    parts = (*_split(deciding), *_split(measuring))
    sources = {part: {"truth": path.name} for part, path in zip(PARTS, (fit, fit, held_back, held_back), strict=True)}
    return Material(*parts, labels=labels, sources=sources)


def _read(path: Path) -> Recorded:
    try:
        document = _Document.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CalibrationError(f"{path} cannot be read as truth: {error.strerror}; name another file") from error
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, fault["loc"])) or "the document"
        raise CalibrationError(f"{path} cannot be read as truth: {where}: {fault['msg']}") from error
    if (twice := repeated([camera.id for camera in document.cameras])) is not None:
        raise CalibrationError(f"{path} names camera {twice} twice; give every recording an id of its own")
    cameras = [_checked(path, camera, document.seconds) for camera in document.cameras]
    files = {camera.id: (path.parent / camera.file).resolve() for camera in document.cameras}
    if missing := [file for file in files.values() if not file.is_file()]:
        raise CalibrationError(f"there is no video {missing[0]}, which {path} names; check `file` of its camera")
    return Recorded(files, {"schema": 1, "cameras": cameras})


def _checked(path: Path, camera: _Camera, common: float | None) -> CameraTruth:
    seconds = common if camera.seconds is None else camera.seconds
    if seconds is None:
        raise CalibrationError(f"{path} does not say how long {camera.id} is; give it `seconds`")
    named = [(action.label, action.start, action.end) for action in camera.actions]
    try:
        found = spans(camera.id, seconds, named)
    except ValueError as error:
        raise CalibrationError(f"{path}: {error}") from error
    actions: list[ActionTruth] = [{"label": one.label, "start": one.start, "end": one.end} for one in found]
    return {"id": camera.id, "seconds": seconds, "actions": actions}


def _labels(recorded: Recorded) -> tuple[str, ...]:
    return tuple(dict.fromkeys(action["label"] for camera in recorded.truth["cameras"] for action in camera["actions"]))


def _split(recorded: Recorded) -> tuple[Recorded, Recorded]:
    """The cameras with actions, and those without."""

    def part(*, busy: bool) -> Recorded:
        cameras = [camera for camera in recorded.truth["cameras"] if bool(camera["actions"]) is busy]
        files = {camera["id"]: recorded.files[camera["id"]] for camera in cameras}
        return Recorded(files, {"schema": recorded.truth["schema"], "cameras": cameras})

    return part(busy=True), part(busy=False)
