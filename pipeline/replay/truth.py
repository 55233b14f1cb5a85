"""A truth document: what truly happened in front of some cameras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from engines.strict_json import short
from engines.truth import repeated, spans
from pipeline.analysis.ticks import REPLAY_EPOCH_NS
from pipeline.errors import BadRecordError, ConfigurationError
from pipeline.records.fields import LATEST_SECONDS, Name, Text, checked
from pipeline.records.wire import nanoseconds

TRUTH_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Action:
    """An action that truly happened. Seconds since the camera's time zero."""

    camera: str
    label: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Truth:
    """What truly happened in front of some cameras."""

    actions: tuple[Action, ...]
    seconds: Mapping[str, float]
    """Length of each camera's stream."""
    epochs_ns: Mapping[str, int]
    """Capture time of each camera's time zero."""


def read_truth(document: Mapping[str, Any]) -> Truth:
    """Read a truth document, as `actionwire-trainer scenes render` writes it.

    `epoch` (RFC 3339), for all or per camera, is the capture time of time zero; by default that of a replay.
    Labels become words, as in lists of clips. Raises ConfigurationError that names what is missing or cannot be, with
    its camera.
    """
    if document.get("schema") != TRUTH_SCHEMA:
        raise ConfigurationError(f"truth of schema {short(document.get('schema'))}, expected {TRUTH_SCHEMA}")
    try:
        found = checked(_TruthDocument, document, "truth")
        if (twice := repeated([camera.id for camera in found.cameras])) is not None:
            raise ValueError(f"it names camera {short(twice)} twice; {_ONE_ENTRY}")
        seconds = {camera.id: _given(camera, camera.seconds, found.seconds) for camera in found.cameras}
        return Truth(
            actions=tuple(action for camera in found.cameras for action in _actions(camera, seconds[camera.id])),
            seconds=seconds,
            epochs_ns={camera.id: _epoch(camera.epoch or found.epoch) for camera in found.cameras},
        )
    except BadRecordError as error:
        raise ConfigurationError(f"truth with a missing or malformed field: {error}") from error
    except ValueError as error:
        raise ConfigurationError(f"truth that cannot be used: {error}") from error


_Moment: TypeAlias = Annotated[float, Field(strict=True, ge=-LATEST_SECONDS, le=LATEST_SECONDS, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class _ActionDocument:
    label: Text
    start: _Moment
    end: _Moment


@dataclass(frozen=True, slots=True)
class _CameraDocument:
    id: Name
    actions: tuple[_ActionDocument, ...]
    seconds: _Moment | None = None
    epoch: Text | None = None


@dataclass(frozen=True, slots=True)
class _TruthDocument:
    """What a truth document holds; more is passed over."""

    cameras: tuple[_CameraDocument, ...]
    seconds: _Moment | None = None
    epoch: Text | None = None


_ONE_ENTRY = "write one entry for it, with times from one beginning, or one document for each recording"


def _actions(camera: _CameraDocument, seconds: float) -> list[Action]:
    named = [(action.label, action.start, action.end) for action in camera.actions]
    return [Action(camera.id, one.label, one.start, one.end) for one in spans(camera.id, seconds, named)]


def _given(camera: _CameraDocument, own: float | None, common: float | None) -> float:
    seconds = common if own is None else own
    if seconds is None:
        raise ValueError(f"truth: cameras: {short(camera.id)} has no 'seconds'")
    return seconds


def _epoch(text: str | None) -> int:
    return REPLAY_EPOCH_NS if text is None else nanoseconds(text)
