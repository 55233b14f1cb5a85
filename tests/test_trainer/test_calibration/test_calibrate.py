"""Calibration with the serving side's real commands, on streams of seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines.bundle import files as bundles
from engines.errors import TextError
from trainer.calibration import streams
from trainer.calibration.calibrate import Seen, calibrate
from trainer.calibration.serving_commands import Scores, evaluate
from trainer.calibration.streams import Recorded
from trainer.demo.recordings import Streams
from trainer.errors import CalibrationError, CommandError
from trainer.scenes.vocabulary import ACTIONS


def test_the_bundle_is_sealed_with_measured_thresholds(calibrated: Path, tiny_draft: Path) -> None:
    """Networks are the draft's; temperature, thresholds and lags are new; the report is of the held-back streams."""
    draft = bundles.load(tiny_draft, allow_draft=True).manifest
    manifest = bundles.load(calibrated).manifest
    assert manifest.sealed and manifest.events.calibrated
    assert manifest.files == draft.files and manifest.space == draft.space
    assert manifest.score.temperature != 1.0
    assert set(manifest.events.labels) <= {action.label for action in ACTIONS}
    report = manifest.events.report
    assert report is not None
    assert report["held_back"]["seeds"] == "10120"
    assert report["held_back"]["camera_hours"] == pytest.approx(20 / 3600)
    assert report["held_back"]["truth_events"] > 0
    # What the search counts is what the event machine does, but for the ticks that rounding moves.
    assert report["held_back"]["event_f1_of_the_search"] == pytest.approx(report["held_back"]["event_f1"] or 0, abs=0.2)
    assert report["temperature"]["loss"] <= report["temperature"]["loss_at_one"]


def test_a_command_that_fails_is_quoted(tmp_path: Path) -> None:
    """What the serving side said is in the error."""
    (tmp_path / "truth.json").write_text("{}")
    (tmp_path / "events.jsonl").write_text("")
    with pytest.raises(CommandError, match=r"evaluate` failed.*\n.*schema"):
        evaluate(tmp_path / "truth.json", tmp_path / "events.jsonl")


def test_a_recording_without_a_whole_window_is_named() -> None:
    """One that is shorter than the window has no scores: better an error with its file than thresholds without it."""
    recorded = Recorded({"door": Path("short.mp4")}, {"cameras": [{"id": "door", "seconds": 1.0, "actions": []}]})
    seen = Seen(recorded, Scores(4, (), (), {}), Path("events.jsonl"))
    with pytest.raises(CalibrationError, match=r"short\.mp4 of door holds no whole window"):
        seen.windows()


def test_a_label_that_the_bundle_cannot_read_is_named_before_the_replays(tiny_draft: Path, tmp_path: Path) -> None:
    """Hours of replays would end in an error that names nothing."""
    none = Recorded({}, {"schema": 1, "cameras": []})
    asked = streams.Material(none, none, none, none, labels=("very " * 30 + "fast",), sources={})
    told: list[str] = []

    with pytest.raises(TextError, match="very"):
        calibrate(tiny_draft, tmp_path / "out", asked, report=lambda what, *_: told.append(what))

    assert told == []
    assert not (tmp_path / "out").exists()


def test_own_recordings_decide_and_measure(
    short_streams: Streams, calibrated: Path, tiny_draft: Path, tmp_path: Path
) -> None:
    """Two truth documents with their videos in place of rendered seeds; here videos that were rendered, renamed.

    fit.json        yard: actions    hall: nothing happens
    held-back.json  gate: actions                          no quiet camera: none in the report
    """
    rendered = short_streams.material(calibrated.parent / "cache", lambda *_: None)

    def document(name: str, **cameras: object) -> Path:
        entries = []
        for camera, recorded in cameras.items():
            entry, file = recorded.truth["cameras"][0], next(iter(recorded.files.values()))  # type: ignore[attr-defined]
            (tmp_path / f"{camera}.mp4").symlink_to(file)
            actions = [{**action, "label": "somebody does something"} for action in entry["actions"]]
            entries.append({"id": camera, "file": f"{file}", "seconds": 20.0, "actions": actions})
        (tmp_path / name).write_text(json.dumps({"schema": 1, "cameras": entries}))
        return tmp_path / name

    fit = document("fit.json", yard=rendered.fit, hall=rendered.quiet)
    held_back = document("held-back.json", gate=rendered.held_back)
    chosen = streams.own(fit, held_back)
    assert set(chosen.fit.files) == {"yard"} and set(chosen.quiet.files) == {"hall"}
    manifest = calibrate(tiny_draft, tmp_path / "bundle", chosen, version="0.2.0")
    report = manifest.events.report
    assert manifest == bundles.load(tmp_path / "bundle").manifest and manifest.version == "0.2.0"
    assert report is not None and manifest.events.calibrated
    actions = len(rendered.fit.truth["cameras"][0]["actions"])
    assert report["fitted_on"] == {
        "truth": "fit.json", "quiet_truth": "fit.json", "seconds": 20.0, "quiet_seconds": 20.0, "actions": actions,
    }  # fmt: skip
    assert report["held_back"]["truth"] == "held-back.json" and report["held_back"]["truth_events"] > 0
    assert "held_back_quiet" not in report
