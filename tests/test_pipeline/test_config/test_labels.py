"""Labels and event thresholds: what one section alone can say."""

import pytest
from pydantic import ValidationError

from pipeline.config.labels import EventSettings, LabelSettings


@pytest.mark.parametrize("thresholds", [{"enter": 0.3, "exit": 0.6}, {"enter": 0.5, "exit": 0.500001}])
def test_exit_above_enter_is_refused(thresholds: dict[str, float]) -> None:
    """Section `events` and a label are both refused, and both thresholds are named."""
    with pytest.raises(ValidationError, match=r"exit .* is above enter .*lower exit or raise enter"):
        EventSettings(**thresholds)
    with pytest.raises(ValidationError, match=r"exit .* is above enter"):
        LabelSettings(text="a person runs", **thresholds)
