"""`actionwire replay`."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from engines.testing import tiny_bundle
from pipeline.commands.replay import replay
from pipeline.demo.recordings import recording
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


def test_a_clip_from_a_phone_scores_as_the_same_film_stored_upright(tmp_path: Path, command: typer.Typer) -> None:
    """Every cosine, of every window, with every text. Without loss: what an encoder drops differs from film to film."""
    film = tmp_path / "film.mp4"
    with av.open(str(recording(20321, 2, 12.0).files["camera-2"])) as source:
        pictures = [frame.to_ndarray(format="rgb24") for frame in itertools.islice(source.decode(video=0), 100)]
    cosines = []
    for turns, degrees in ((0, None), (1, -90.0)):
        with av.open(str(film), "w") as output:
            stream = output.add_stream("libx264", 25, options={"qp": "0", "preset": "ultrafast"})
            stream.height, stream.width = np.rot90(pictures[0], turns).shape[:2]
            stream.pix_fmt = "yuv420p"
            if degrees is not None:
                stream.set_display_rotation(degrees)
            for picture in pictures:
                turned = np.ascontiguousarray(np.rot90(picture, turns))
                output.mux(stream.encode(av.VideoFrame.from_ndarray(turned, format="rgb24")))
            output.mux(stream.encode(None))
        arguments = [str(film), "--bundle", "demo", "--label", "a person crouches", "--scores", str(tmp_path / "s.npz")]
        CliRunner().invoke(command, arguments, catch_exceptions=False)
        with np.load(tmp_path / "s.npz", allow_pickle=False) as scores:
            cosines.append(np.concatenate([scores["film/label_cosines"], scores["film/reference_cosines"]], axis=1))

    assert len(cosines[0]) >= 4
    np.testing.assert_allclose(cosines[1], cosines[0], atol=0.05)


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
