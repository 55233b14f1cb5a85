import re
from pathlib import Path

import pytest

import pipeline
from pipeline.errors import TransactionAborted
from pipeline.worker import fail_points

SOURCES = {path: path.read_text() for path in Path(pipeline.__file__).parent.rglob("*.py")}


def test_a_hook_is_called_with_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test decides what happens at a step; without a hook nothing does."""

    def strike(step: str) -> None:
        raise TransactionAborted(f"injected at {step}")

    fail_points.reached("commit:3")
    monkeypatch.setattr(fail_points, "hook", strike)
    with pytest.raises(TransactionAborted, match="injected at commit:3"):
        fail_points.reached("commit:3")


def test_every_step_has_one_call_and_no_hook_is_installed() -> None:
    """Production code announces each numbered step at one place, and knows no hook."""
    steps = [step for source in SOURCES.values() for step in re.findall(r'fail_points\.reached\("(.+?)"\)', source)]

    assert sorted(steps) == [
        *(f"assign:{number}" for number in range(1, 5)),
        "batch:prepared",
        *(f"commit:{number}" for number in range(1, 8)),
        "commit:done",
    ]
    assert not [path for path, source in SOURCES.items() if "fail_points.hook" in source]
