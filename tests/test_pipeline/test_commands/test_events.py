"""`actionwire events diff` on files."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
from typer.testing import CliRunner

from pipeline.commands.events import app
from pipeline.errors import ConfigurationError
from pipeline.records.events import event_document
from pipeline.testing import sample_event


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """One event in use; the candidate has it at another camera."""
    paths = []
    for name, camera in (("before", "front-door"), ("after", "yard")):
        path = tmp_path / f"{name}.jsonl"
        path.write_text(
            "\n".join(json.dumps(event_document(sample_event(phase, camera=camera))) for phase in ("started", "ended"))
        )
        paths.append(str(path))
    return paths[0], paths[1]


def test_the_table_names_what_changes(files: tuple[str, str]) -> None:
    """Counts by label, and every event."""
    shown = CliRunner().invoke(app, ["diff", *files], env={"COLUMNS": "160"}, catch_exceptions=False).stdout
    lines = shown.splitlines()
    (total,) = (line for line in lines if "total" in line)
    assert [part for part in total.split() if part in "01-"] == ["0", "0", "1", "1", "-", "-"]
    assert any(line.startswith("new ") and "yard" in line for line in lines)
    assert any(line.startswith("gone ") and "front-door" in line for line in lines)


def test_json_counts(files: tuple[str, str]) -> None:
    """For scripts that decide whether to swap; the same file twice changes nothing."""
    found = json.loads(CliRunner().invoke(app, ["diff", *files, "--json"]).stdout)
    assert (found["same"], found["moved"], found["new"], found["gone"]) == (0, 0, 1, 1)
    found = json.loads(CliRunner().invoke(app, ["diff", files[0], files[0], "--json"]).stdout)
    assert (found["same"], found["new"], found["gone"]) == (1, 0, 0)


def test_only_cameras_of_a_shadow_s_share_are_compared(files: tuple[str, str]) -> None:
    """The others are no difference: the shadow did not look at them."""
    found = json.loads(CliRunner().invoke(app, ["diff", *files, "--share", "0", "--json"]).stdout)
    assert (found["new"], found["gone"]) == (0, 0)


def test_one_side_may_come_from_a_pipe(files: tuple[str, str]) -> None:
    """Not both, and a line that is no event is named."""
    result = CliRunner().invoke(app, ["diff", files[0], "-", "--json"], input=Path(files[0]).read_text())
    assert json.loads(result.stdout)["same"] == 1
    assert isinstance(CliRunner().invoke(app, ["diff", "-", "-"]).exception, ConfigurationError)
    result = CliRunner().invoke(app, ["diff", files[0], "-"], input="{}\n")
    assert isinstance(result.exception, ConfigurationError) and "-, line 1" in str(result.exception)


def test_a_candidate_that_says_too_much_fails_the_check(tmp_path: Path) -> None:
    """For a script that publishes only what passes: exit status 1 and the reason, by the rule of workers.

    in use     2    2
    candidate  4   30
    check      -    refused
    """
    paths = {}
    for name, count in (("before", 2), ("four", 4), ("thirty", 30)):
        told = (sample_event("started", camera=f"camera-{number}", id=str(UUID(int=number))) for number in range(count))
        paths[name] = tmp_path / f"{name}.jsonl"
        paths[name].write_text("\n".join(json.dumps(event_document(event)) for event in told))
    passed = CliRunner().invoke(app, ["diff", str(paths["before"]), str(paths["four"]), "--check"])
    refused = CliRunner().invoke(app, ["diff", str(paths["before"]), str(paths["thirty"]), "--check"])
    assert (passed.exit_code, refused.exit_code) == (0, 1)
    assert "30 events where the bundle in use says 2: more than twice as many" in refused.stderr
