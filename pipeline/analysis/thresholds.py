"""When a score becomes an event: the settings of every label, as arrays (ARCHITECTURE 4).

Each setting comes from the first of these that gives it:

    the label itself  >  `events:` of the settings  >  the bundle, for this text  >  the bundle's defaults

Calibration measured the last two, for scores of texts. A label that is taught by example scores on a scale of its own,
whose middle is where an example is as far as everything else: there `TAUGHT` wins over them. Seconds become ticks of
the deployment's grid here, rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from engines.canonical import folded
from pipeline.errors import ConfigurationError
from pipeline.records.labels import THRESHOLDS, Label, names_camera

Floats: TypeAlias = npt.NDArray[np.float64]
Ticks: TypeAlias = npt.NDArray[np.int64]

TAUGHT: Mapping[str, float] = {"enter": 0.5, "exit": 0.25, "confirm": 2}
"""Of labels that name examples."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What calibration measured of a bundle's scores."""

    defaults: Mapping[str, float]
    """One value for every name in `records.labels.THRESHOLDS`."""
    labels: Mapping[str, Mapping[str, float]]
    """Values that differ from the defaults, by the text of the label."""
    onset_lag_ticks: int
    """From the start of an action to the end of its first window, in the bundle's ticks."""
    offset_lag_ticks: int
    """From the end of an action to the end of its last window, in the bundle's ticks."""


@dataclass(frozen=True)
class EventRules:
    """Settings of every label, one array element per label in the order of `labels`. Ticks are the deployment's."""

    labels: tuple[Label, ...]
    columns: Mapping[str, int]
    """Position of a label in the arrays, by id. A label that is not watched is absent."""
    enter: Floats
    """Infinite for a label that is not watched."""
    exit: Floats
    confirm: Ticks
    backtrack_ticks: Ticks
    min_ticks: Ticks
    merge_ticks: Ticks
    cooldown_ticks: Ticks
    max_ticks: Ticks
    onset_lag: int
    offset_lag: int
    step: int
    """Ticks between windows: a window ends at every multiple of it."""
    rate: int
    """Ticks per second."""

    @cached_property
    def wake(self) -> Floats:
        """Score from which a label at rest is followed: `exit` if an event may start before it reaches `enter`."""
        return np.where((self.backtrack_ticks > 0) & np.isfinite(self.enter), self.exit, self.enter)


def calibration(document: Mapping[str, Any]) -> Calibration:
    """Read the `events` section of a bundle's manifest."""
    return Calibration(
        defaults={name: document["defaults"][name] for name in THRESHOLDS},
        labels={
            folded(text): {name: value for name, value in values.items() if value is not None}
            for text, values in document["labels"].items()
        },
        onset_lag_ticks=document["onset_lag_ticks"],
        offset_lag_ticks=document["offset_lag_ticks"],
    )


def resolve(
    labels: Sequence[Label],
    calibrated: Calibration,
    settings: Mapping[str, float | None],
    *,
    rate: int,
    multiple: int = 1,
    stride: int = 1,
) -> EventRules:
    """Decide every setting of every label.

    settings: the deployment's own defaults by the names of `THRESHOLDS`; None: as calibrated.
    rate: ticks per second of the deployment. multiple: ticks per tick of the bundle. stride: bundle ticks per window.
    Raises ConfigurationError if a person set `exit` above `enter`.
    """
    chosen = [_settings_of(label, calibrated, settings) for label in labels]
    seconds = {
        name: np.array([_ticks(values[f"{name}_seconds"], rate) for values in chosen], np.int64)
        for name in ("backtrack", "min", "merge", "cooldown", "max")
    }
    return EventRules(
        labels=tuple(labels),
        columns={label.id: column for column, label in enumerate(labels)},
        enter=np.array([values["enter"] for values in chosen], np.float64),
        exit=np.array([values["exit"] for values in chosen], np.float64),
        confirm=np.array([values["confirm"] for values in chosen], np.int64),
        backtrack_ticks=seconds["backtrack"],
        min_ticks=seconds["min"],
        merge_ticks=seconds["merge"],
        cooldown_ticks=seconds["cooldown"],
        max_ticks=np.maximum(seconds["max"], 1),
        onset_lag=calibrated.onset_lag_ticks * multiple,
        offset_lag=calibrated.offset_lag_ticks * multiple,
        step=multiple * stride,
        rate=rate,
    )


class CameraRules:
    """The rules of each camera of a label set: a label is watched for by the cameras that it names.

    Cameras that are watched for the same labels share one object, so that ten thousand labels cost every further camera
    no more than a reference. Used by one thread at a time.
    """

    def __init__(self, rules: EventRules) -> None:
        """rules: of all labels, as from `resolve`."""
        self._rules = rules
        patterns = {patterns: number for number, patterns in enumerate({label.cameras: None for label in rules.labels})}
        self._patterns = tuple(patterns)
        self._pattern_of = np.array([patterns[label.cameras] for label in rules.labels], np.intp)
        self._shared: dict[tuple[bool, ...], EventRules] = {}
        self._by_camera: dict[str, EventRules] = {}

    def __call__(self, camera: str) -> EventRules:
        """The rules of one camera."""
        if (found := self._by_camera.get(camera)) is not None:
            return found
        named = tuple(names_camera(patterns, camera) for patterns in self._patterns)
        if named not in self._shared:
            self._shared[named] = self._rules if all(named) else self._watching(named)
        self._by_camera[camera] = self._shared[named]
        return self._by_camera[camera]

    def _watching(self, named: Sequence[bool]) -> EventRules:
        rules = self._rules
        watched = np.array(named, np.bool_)[self._pattern_of]
        columns = {rules.labels[column].id: int(column) for column in np.flatnonzero(watched)}
        return replace(rules, columns=columns, enter=np.where(watched, rules.enter, np.inf))


def _settings_of(label: Label, calibrated: Calibration, settings: Mapping[str, float | None]) -> dict[str, float]:
    given = {name: getattr(label, name) for name in THRESHOLDS}
    given = {name: settings.get(name) if value is None else value for name, value in given.items()}
    taught = TAUGHT if label.examples else {}
    measured = {**calibrated.defaults, **calibrated.labels.get(folded(label.text), {}), **taught}
    values = {name: measured[name] if value is None else value for name, value in given.items()}
    if values["exit"] > values["enter"]:
        if given["exit"] is not None and given["enter"] is not None:
            raise ConfigurationError(
                f"label {label.text!r}: exit {values['exit']} is above enter {values['enter']}, so an event would end "
                "as it starts; lower exit or raise enter"
            )
        # A person moved one of the two past the other, which calibration measured: the measured one gives way.
        name, other = ("exit", "enter") if given["exit"] is None else ("enter", "exit")
        values[name] = values[other]
    return values


def _ticks(seconds: float, rate: int) -> int:
    # Without the subtraction 0.7 s at 10 per second (7.000000000000001) would become eight ticks.
    return math.ceil(seconds * rate - 1e-6)
