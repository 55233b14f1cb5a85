"""`actionwire replay`."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from engines.testing import tiny_bundle
from pipeline.commands.replay import replay
from pipeline.errors import ConfigurationError

Film = Callable[..., Path]


@pytest.fixture(scope="module", params=["frame", "clip"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of either kind that knows colours: windows of two seconds at four frames per second."""
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny", kind=request.param)


@pytest.fixture
def command() -> typer.Typer:
    """The command as the command line offers it."""
    app = typer.Typer()
    app.command()(replay)
    return app


def test_the_command_writes_events_and_scores(film: Film, tmp_path: Path, bundle: Path, command: typer.Typer) -> None:
    """Events come as JSON lines, scores as arrays whose shapes the documentation states."""
    file = film(tmp_path / "x.mp4", [("grey", 4), ("cyan", 4), ("grey", 4)])
    (tmp_path / "labels.yaml").write_text("labels:\n  - magenta\n  - {text: yellow, id: sun}\n")
    arguments = ["--camera", f"yard={file}", "--bundle", str(bundle), "--label", "cyan"]
    arguments += ["--labels", str(tmp_path / "labels.yaml")]
    arguments += ["--json", str(tmp_path / "events.jsonl"), "--scores", str(tmp_path / "scores.npz")]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0 and "1 cameras, " in result.stderr
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert events[0]["phase"] == "started" and events[0]["label"] == {"id": "cyan", "text": "cyan"}
    with np.load(tmp_path / "scores.npz", allow_pickle=False) as scores:
        labels, references = scores["labels"].tolist(), scores["references"].tolist()
        windows = len(scores["yard/ticks"])
        assert windows in (41, 42)
        assert labels == ["cyan", "magenta", "yellow"] and "grey" in references
        assert scores["yard/ticks"].shape == (windows,) and np.all(np.diff(scores["yard/ticks"]) == 1)
        assert scores["yard/probabilities"].shape == (windows, 3)
        assert scores["yard/label_cosines"].shape == (windows, 3, 2)
        assert scores["yard/reference_cosines"].shape == (windows, len(references), 2)
        best = scores["yard/label_cosines"].mean(axis=2)[:, 0].argmax()
        assert scores["yard/probabilities"][best, 0] > 0.6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name video files"),
        (["--topic", "x.mp4"], "name video files"),
        (["missing.mp4"], "no file missing.mp4"),
        (["--camera", "nofile"], "ID=FILE"),
        (["--camera", "a b=x"], "ID=FILE"),
    ],
)
def test_the_command_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: typer.Typer, arguments: list[str], words: str
) -> None:
    """Sources that cannot be replayed are refused with the reason before anything is loaded."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.mp4").touch()
    with pytest.raises(ConfigurationError, match=words):
        CliRunner().invoke(command, arguments, catch_exceptions=False)
