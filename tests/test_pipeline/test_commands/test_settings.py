"""`actionwire settings`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config.reading import load
from pipeline.config.reference import as_document


def test_what_it_prints_can_be_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The output is a settings file to start from."""
    monkeypatch.chdir(tmp_path)
    defaults = load()

    found = CliRunner().invoke(app, ["settings"])
    (tmp_path / "actionwire.yaml").write_text(found.stdout)

    assert found.exit_code == 0
    assert load() == defaults
    assert "# Under overload `shed` analyses less and counts it" in found.stdout


def test_it_needs_no_valid_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks up a key may have a file that is wrong."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "actionwire.yaml").write_text("lables: [x]")

    assert CliRunner().invoke(app, ["settings"]).exit_code == 0


def test_a_machine_reads_json() -> None:
    """The document of the reference, whole."""
    found = CliRunner().invoke(app, ["settings", "--json"])

    assert json.loads(found.stdout) == as_document()
