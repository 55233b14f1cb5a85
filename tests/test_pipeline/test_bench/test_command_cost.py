"""What a command costs: measured from a process of its own, and never of one that failed."""

from pathlib import Path

import pytest

from pipeline.bench.command_cost import cpu_seconds
from pipeline.errors import ActionwireError


def test_a_command_costs_something(tmp_path: Path) -> None:
    """CPU time of a real process."""
    assert cpu_seconds(["--help"], tmp_path / "none.yaml", rounds=1) > 0


def test_a_command_that_fails_is_no_figure(tmp_path: Path) -> None:
    """It would be quick, and say nothing; its message is shown."""
    with pytest.raises(ActionwireError, match=r"cannot read .*none\.yaml"):
        cpu_seconds(["status"], tmp_path / "none.yaml", rounds=1)
