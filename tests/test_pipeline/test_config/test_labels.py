"""Labels and event thresholds: what one section alone can say."""

import pytest
from pydantic import ValidationError

from pipeline.config.labels import EventSettings, LabelSettings, watches


def test_globs_name_cameras() -> None:
    """A label's cameras are ids or globs, and case matters."""
    assert watches(("front-*", "yard"), "front-door")
    assert watches(("*",), "anything")
    assert not watches(("front-*",), "Front-door")


@pytest.mark.parametrize("thresholds", [{"enter": 0.3, "exit": 0.6}, {"enter": 0.5, "exit": 0.500001}])
def test_exit_above_enter_is_refused(thresholds: dict[str, float]) -> None:
    """Section `events` and a label are both refused, and both thresholds are named."""
    with pytest.raises(ValidationError, match=r"exit .* is above enter .*lower exit or raise enter"):
        EventSettings(**thresholds)
    with pytest.raises(ValidationError, match=r"exit .* is above enter"):
        LabelSettings(text="a person runs", **thresholds)
