"""Where the settings of a label come from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.thresholds import TAUGHT, CameraRules, calibration, resolve
from pipeline.errors import ConfigurationError
from pipeline.records.labels import Label, names_camera

DOCUMENT = {
    "defaults": {
        "enter": 0.7,
        "exit": 0.4,
        "confirm": 2,
        "backtrack_seconds": 0.0,
        "min_seconds": 0.0,
        "merge_seconds": 1.0,
        "cooldown_seconds": 2.0,
        "max_seconds": 60.0,
    },
    "labels": {"A person  falls": {"enter": 0.55, "exit": None}},
    "onset_lag_ticks": 3,
    "offset_lag_ticks": 5,
    "calibrated": True,
    "report": None,
}
FALL = Label("fall", "a person falls")
RUN = Label("run", "a person runs")


def test_the_nearest_source_decides() -> None:
    """The label wins over the deployment, that over the bundle's value for the text, that over the bundle's default."""
    calibrated = calibration(DOCUMENT)

    rules = resolve([FALL, RUN, Label("x", "x", exit=0.1)], calibrated, {"exit": 0.3}, rate=4)

    np.testing.assert_array_equal(rules.enter, [0.55, 0.7, 0.7])
    np.testing.assert_array_equal(rules.exit, [0.3, 0.3, 0.1])


def test_a_label_that_is_taught_has_thresholds_of_its_own() -> None:
    """What calibration measured is for scores of texts; what a person says wins as ever."""
    taught = replace(FALL, examples=("0" * 16,))
    rules = resolve([taught, replace(taught, id="strict", enter=0.9)], calibration(DOCUMENT), {"confirm": 4}, rate=4)

    np.testing.assert_array_equal(rules.enter, [TAUGHT["enter"], 0.9])
    np.testing.assert_array_equal(rules.exit, [TAUGHT["exit"]] * 2)
    np.testing.assert_array_equal(rules.confirm, [4, 4])


@pytest.mark.parametrize(
    ("seconds", "rate", "ticks"), [(1.0, 4, 4), (0.7, 10, 7), (0.1, 4, 1), (0.0, 4, 0), (2.01, 4, 9)]
)
def test_seconds_become_ticks_rounded_up(seconds: float, rate: int, ticks: int) -> None:
    """A time is never cut short by the grid, and a rounding error adds no tick."""
    assert resolve([FALL], calibration(DOCUMENT), {"merge_seconds": seconds}, rate=rate).merge_ticks[0] == ticks


def test_lags_are_in_ticks_of_the_bundle() -> None:
    """Where the bundle takes every second tick, a lag of three is six ticks of the deployment."""
    rules = resolve([FALL], calibration(DOCUMENT), {}, rate=8, multiple=2, stride=3)

    assert (rules.onset_lag, rules.offset_lag, rules.step) == (6, 10, 6)


def test_exit_above_enter_is_refused_where_a_person_asked_for_it() -> None:
    """Both set by a person: refused. One set past the measured other: the measured one gives way."""
    calibrated = calibration(DOCUMENT)

    with pytest.raises(ConfigurationError, match=r"exit 0.6 is above enter 0.5"):
        resolve([Label("x", "x", exit=0.6)], calibrated, {"enter": 0.5}, rate=4)
    rules = resolve([Label("x", "x", enter=0.2), Label("y", "y", exit=0.9)], calibrated, {}, rate=4)
    np.testing.assert_array_equal(rules.enter, [0.2, 0.9])
    np.testing.assert_array_equal(rules.exit, [0.2, 0.9])


def test_a_camera_is_watched_for_the_labels_that_name_it() -> None:
    """Globs choose cameras; a label that is not watched can never enter, and the columns stay in place."""
    rules = resolve(
        [FALL, Label("run", "a person runs", cameras=("yard-*", "door"))], calibration(DOCUMENT), {}, rate=4
    )

    of = CameraRules(rules)
    assert dict(of("yard-2").columns) == {"fall": 0, "run": 1}
    assert dict(of("hall").columns) == {"fall": 0}
    np.testing.assert_array_equal(of("hall").enter, [0.55, np.inf])


def test_cameras_that_are_watched_alike_share_their_rules() -> None:
    """A thousand cameras cost no more arrays than there are different sets of labels among them.

    labels    fall: all    run: yard-*
    cameras   yard-0 ... yard-499 share one object, door-0 ... door-499 another
    """
    of = CameraRules(
        resolve([FALL, Label("run", "a person runs", cameras=("yard-*",))], calibration(DOCUMENT), {}, rate=4)
    )

    yards, doors = ({id(of(f"{name}-{number}")) for number in range(500)} for name in ("yard", "door"))

    assert (len(yards), len(doors)) == (1, 1) and yards != doors
    assert of("yard-0") is of("yard-0")


@given(
    st.lists(st.sampled_from([("*",), ("a*",), ("b", "ab"), ("*b",)]), max_size=12), st.sampled_from(["a", "b", "ab"])
)
def test_shared_rules_are_those_of_every_label_alone(patterns: list[tuple[str, ...]], camera: str) -> None:
    """Sharing decides nothing: a label is watched for exactly where one of its own patterns names the camera."""
    labels = [Label(f"l{number}", "a person runs", cameras=cameras) for number, cameras in enumerate(patterns)]
    rules = CameraRules(resolve(labels, calibration(DOCUMENT), {}, rate=4))(camera)

    watched = [names_camera(label.cameras, camera) for label in labels]
    assert dict(rules.columns) == {label.id: column for column, label in enumerate(labels) if watched[column]}
    np.testing.assert_array_equal(np.isfinite(rules.enter), watched)
    assert rules.labels == tuple(labels)
