"""`actionwire-trainer data` as a user types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trainer.cli import app

Film = Callable[..., Path]


@pytest.fixture
def videos(film: Film, tmp_path: Path) -> Path:
    """Two labels of four clips each, and one file that is no video."""
    for number in range(4):
        film(f"videos/across/cam{number}.mp4", "across", number)
        film(f"videos/down/cam{number}.mp4", "down", number)
    (tmp_path / "videos/down/broken.mp4").write_text("no video")
    return tmp_path / "videos"


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, output, and what stands beside it."""
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def test_from_a_folder_to_a_checked_list(videos: Path) -> None:
    """The folder comes first, the list is written beside its videos, a second time only by force."""
    code, out, err = run(videos, "--group-pattern", "cam[0-9]", "--validate", "0.25", "--test", "0.25")
    assert code == 0 and f"next: actionwire-trainer data check {videos / 'labels.csv'}" in out
    assert f"left out: {videos / 'down/broken.mp4'}: it is no video" in err and "no groups" not in err
    assert run(videos)[0] == 2 and "is there already" in run(videos)[2]
    code, out, err = run("list", videos, "--force", "--json")
    figures = json.loads(out)
    assert code == 0 and figures["clips"] == 8 and set(figures["labels"]) == {"across", "down"}
    assert [Path(row["path"]).name for row in figures["unreadable"]] == ["broken.mp4"]
    code, out, err = run("check", videos / "labels.csv", "--height", "48", "--width", "64", "--frames", "4")
    assert code == 0 and "0 findings must be changed" in out and (videos / "labels.png").is_file()


def test_a_list_that_must_be_changed_has_exit_code_2(videos: Path) -> None:
    """As a table for people and as JSON for programs; decoded clips stay where --cache says."""
    rows = [{"path": f"{label}/cam{number}.mp4", "label": label} for label in ("across", "down") for number in range(4)]
    (videos / "own.json").write_text(
        json.dumps([*rows, {"path": "down/broken.mp4", "label": "down"}, {"path": "x.mp4"}])
    )
    options = ("check", videos / "own.json", "--cache", videos / "kept", "--sheet", videos / "sheet.png")
    code, out, _ = run(*options, "--json")
    figures = json.loads(out)
    assert code == 2 and figures["clean"] is False and (videos / "sheet.png").is_file()
    assert {finding["kind"] for finding in figures["findings"] if finding["severity"] == "change"} == {
        "row",
        "unreadable",
    }
    assert len(list((videos / "kept").iterdir())) == 8
    code, out, _ = run(*options)
    assert code == 2 and "2 findings must be changed" in out and "down/broken.mp4" in out


@pytest.mark.parametrize("arguments", [("gone",), ("check", "gone.csv"), ("list", "gone", "--json")])
def test_what_is_not_there_is_named_in_one_line(arguments: tuple[str, ...]) -> None:
    """Exit code 2, and no traceback."""
    code, out, err = run(*arguments)
    assert code == 2 and out == "" and "gone" in err and "Traceback" not in err


def test_help_names_both_commands() -> None:
    """For a stranger."""
    code, out, _ = run("--help")
    assert code == 0 and "list" in out and "check" in out
