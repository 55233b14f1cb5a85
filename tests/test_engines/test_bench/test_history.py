"""Former runs of the bench."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines.bench.history import HistoryDamaged, append

FIGURES = {"machine": "Intel(R) Xeon(R) @ 2.10GHz", "threads": 2, "labels_cost": {"value": 0.02}}


def test_runs_of_a_machine_follow_each_other(tmp_path: Path) -> None:
    """One file for each processor and number of threads; what is there stays."""
    first = append(tmp_path, FIGURES, at="2026-11-30T18:00:00Z", commit="abc")
    assert append(tmp_path, {**FIGURES, "labels_cost": 1}, at="2026-12-01T18:00:00Z", commit=None) == first
    other = append(tmp_path, {**FIGURES, "threads": 4}, at="2026-12-01T18:00:00Z", commit=None)

    assert (first.name, other.name) == (
        "intel-r-xeon-r-2-10ghz-2-threads.json",
        "intel-r-xeon-r-2-10ghz-4-threads.json",
    )
    runs = json.loads(first.read_text())
    assert [(run["at"][:10], run["commit"], run["labels_cost"]) for run in runs] == [
        ("2026-11-30", "abc", {"value": 0.02}),
        ("2026-12-01", None, 1),
    ]
    assert sorted(tmp_path.iterdir()) == sorted([first, other])


@pytest.mark.parametrize("content", ["", "{}", "[1]", "[{]"])
def test_what_is_no_history_is_not_overwritten(tmp_path: Path, content: str) -> None:
    """A slip of somebody's editor costs no former figures."""
    file = append(tmp_path, FIGURES, at="2026-11-30T18:00:00Z", commit=None)
    file.write_text(content)
    with pytest.raises(HistoryDamaged, match=r"mend it or move it away"):
        append(tmp_path, FIGURES, at="2026-12-01T18:00:00Z", commit=None)
    assert file.read_text() == content
