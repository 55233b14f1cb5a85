"""What a status says, and when it is due."""

from dataclasses import replace

import pytest

from pipeline.camera.condition import Condition
from pipeline.ingest.status import farewell, is_due, status_of

CONDITION = Condition(
    state="online",
    since_ms=7,
    session=5,
    fps=24.987,
    width=640,
    height=480,
    codec="h264",
    clock="rtcp",
    clock_offset_seconds=-0.04567,
)
STATUS = status_of("door", CONDITION, publisher="me", dropped=3, conflict=None)


def test_a_status_says_what_is_known() -> None:
    """Figures are rounded; everything else is taken over."""
    assert (STATUS.camera, STATUS.condition, STATUS.fps, STATUS.clock_offset_seconds) == (
        "door",
        "online",
        24.99,
        -0.046,
    )
    assert (STATUS.session, STATUS.width, STATUS.height, STATUS.codec, STATUS.clock) == (5, 640, 480, "h264", "rtcp")
    assert (STATUS.dropped, STATUS.publisher, STATUS.last_error) == (3, "me", None)


@pytest.mark.parametrize(
    ("changes", "age", "expected"),
    [
        ({}, 1.0, False),
        ({}, 5.0, True),
        ({"fps": 20.0, "dropped": 9, "clock_offset_seconds": 1.0}, 1.0, False),
        ({"condition": "stalled"}, 1.0, True),
        ({"session": 6}, 1.0, True),
        ({"conflict": "you"}, 1.0, True),
        ({"last_error": "away"}, 1.0, True),
    ],
)
def test_changes_are_published_at_once_and_figures_with_the_period(
    changes: dict[str, object], age: float, expected: bool
) -> None:
    """A change of condition, session, conflict or error is due at once; measured figures wait for the period."""
    assert is_due(STATUS, replace(STATUS, **changes), age, 5.0) is expected  # type: ignore[arg-type]


def test_the_first_status_is_due_at_once() -> None:
    """A camera without a status gets one."""
    assert is_due(None, STATUS, 0.0, 5.0)


def test_a_farewell_is_offline_and_nobodys() -> None:
    """When ingest stops, its cameras are offline from now on, and the newest session is named."""
    last = farewell(STATUS, 6, 99)

    assert (last.condition, last.session, last.since_ms, last.last_error) == ("offline", 6, 99, "ingest has stopped")
    assert farewell(replace(last, since_ms=50), 6, 99).since_ms == 50
