"""The figures at the end of a demo."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.demo.report import print_report, quantile


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, None),
        ([3.0], 0.99, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 0.75, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 0.76, 4.0),
        (list(map(float, range(1, 101))), 0.99, 99.0),
    ],
)
def test_a_quantile_is_a_value_that_occurred(values: list[float], share: float, expected: float | None) -> None:
    """The smallest value that at least the given share of the values do not exceed."""
    assert quantile(values, share) == expected


@given(st.lists(st.floats(0, 10), min_size=1), st.floats(0.01, 1.0))
def test_a_quantile_covers_its_share(values: list[float], share: float) -> None:
    """At least that share lies at or below it, and any smaller value of the list covers less."""
    found = quantile(values, share)

    assert found is not None
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert all(
        sum(value <= lower for value in values) < share * len(values) + 1e-9 for lower in values if lower < found
    )


def test_what_was_not_measured_is_shown_as_a_dash() -> None:
    """A figure that is not defined is neither 0 nor left out."""
    screen = io.StringIO()
    label = {"truth_events": 2, "events": 0, "event_f1": 0.0, "onset_delay_median_s": None}
    label["false_alarms_per_camera_hour"] = 0.0

    print_report({"event_f1": 0.5, "precision": None, "labels": {"a person runs": label}}, Console(file=screen))

    shown = screen.getvalue()
    assert "0.500" in shown
    assert "-" in next(line for line in shown.splitlines() if "precision" in line)
    assert "a person runs" in shown
