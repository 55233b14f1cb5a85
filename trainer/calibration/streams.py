"""What a calibration works with: streams that decide and streams that measure, rendered or the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from trainer.calibration.recordings import Recorded
from trainer.errors import CalibrationError
from trainer.models.text.templates import same_words, spaced

PARTS = ("fit", "quiet", "held_back", "held_back_quiet")


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


class _Action(BaseModel):
    label: Annotated[str, AfterValidator(spaced)]
    start: float
    end: float


class _Camera(BaseModel):
    id: str
    file: Path
    seconds: float | None = None
    actions: list[_Action]


class _Truth(BaseModel):
    version: Literal[1] = Field(alias="schema")
    seconds: float | None = None
    cameras: list[_Camera]


def own(fit: Path, held_back: Path) -> Material:
    """The user's recordings, by two truth documents as `actionwire evaluate` reads them.

    Every camera names its video in `file`, relative to the document, and is `seconds` long; starts and ends are seconds
    from its beginning. Cameras without actions are the quiet ones. Class names such as OpenDoor become words, as in a
    list of clips. Raises CalibrationError for documents that cannot be used so.
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
        truth = _Truth.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CalibrationError(f"{path} cannot be read as truth: {error}") from error
    cameras = []
    for camera in truth.cameras:
        seconds = truth.seconds if camera.seconds is None else camera.seconds
        if seconds is None:
            raise CalibrationError(f"{path} does not say how long {camera.id} is; give it `seconds`")
        cameras.append({**camera.model_dump(include={"id", "actions"}), "seconds": seconds})
    ids = [camera.id for camera in truth.cameras]
    if twice := [one for one in ids if ids.count(one) > 1]:
        raise CalibrationError(f"{path} names camera {twice[0]} twice; give every recording an id of its own")
    files = {camera.id: (path.parent / camera.file).resolve() for camera in truth.cameras}
    if missing := [file for file in files.values() if not file.is_file()]:
        raise CalibrationError(f"there is no video {missing[0]}, which {path} names; check `file` of its camera")
    return Recorded(files, {"schema": 1, "cameras": cameras})


def _labels(recorded: Recorded) -> tuple[str, ...]:
    return tuple(dict.fromkeys(action["label"] for camera in recorded.truth["cameras"] for action in camera["actions"]))


def _split(recorded: Recorded) -> tuple[Recorded, Recorded]:
    """The cameras in front of which something happens, and those in front of which nothing does."""

    def part(*, busy: bool) -> Recorded:
        cameras = [camera for camera in recorded.truth["cameras"] if bool(camera["actions"]) is busy]
        files = {camera["id"]: recorded.files[camera["id"]] for camera in cameras}
        return Recorded(files, {**recorded.truth, "cameras": cameras})

    return part(busy=True), part(busy=False)
