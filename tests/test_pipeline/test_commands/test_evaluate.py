"""`actionwire evaluate` on files."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipeline.analysis.ticks import REPLAY_EPOCH_NS, SECOND
from pipeline.commands.evaluate import evaluate
from pipeline.errors import ConfigurationError
from pipeline.records.events import event_document
from pipeline.testing import sample_event

app = typer.Typer()
app.command()(evaluate)

TRUTH = {
    "schema": 1,
    "seed": 20000,
    "seconds": 1800.0,
    "fps": 12,
    "cameras": [
        {
            "id": "camera-1",
            "file": "camera-1.mp4",
            "actions": [
                {"label": "a person runs", "key": "run", "start": 3.0, "end": 7.0, "actors": [0]},
                {"label": "a person falls down", "key": "fall", "start": 20.0, "end": 22.0, "actors": [0]},
            ],
        }
    ],
}


def messages(label: str, start: float, end: float) -> list[dict[str, Any]]:
    """The documents of one event; it fires 1.5 s after its start."""

    def at(seconds: float) -> int:
        return REPLAY_EPOCH_NS + round(seconds * SECOND)

    name = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{label}-{start}"))
    return [
        event_document(sample_event(phase, id=name, camera="camera-1", label=label, start_ns=at(start), **changes))
        for phase, changes in (
            ("started", {"time_ns": at(start + 1.5)}),
            ("ended", {"time_ns": at(end + 1), "end_ns": at(end)}),
        )
    ]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Arguments that name a truth and an event file: one action found, one missed, one false alarm."""
    truth, events = tmp_path / "truth.json", tmp_path / "events.jsonl"
    truth.write_text(json.dumps(TRUTH))
    documents = [*messages("a person runs", 3.5, 7.0), *messages("a person waves", 50.0, 52.0)]
    events.write_text("\n".join(json.dumps(document) for document in documents) + "\n\n")
    return ["--truth", str(truth), "--events", str(events)]


def test_json_has_the_stable_names(files: list[str]) -> None:
    """Figures come under the names that the demo's report has too."""
    found = json.loads(CliRunner().invoke(app, [*files, "--json"], catch_exceptions=False).stdout)

    assert {name: found[name] for name in ("events", "truth_events", "event_f1", "precision", "recall")} == {
        "events": 2,
        "truth_events": 2,
        "event_f1": 0.5,
        "precision": 0.5,
        "recall": 0.5,
    }
    assert found["onset_delay_median_s"] == pytest.approx(2.0)
    assert found["false_alarms_per_camera_hour"] == pytest.approx(2.0)


def test_the_table_shows_every_label_and_all_together(files: list[str]) -> None:
    """One line per label, one for the total."""
    shown = CliRunner().invoke(app, files, env={"COLUMNS": "160"}, catch_exceptions=False).stdout

    for words in ("a person runs", "a person falls down", "a person waves", "total", "0.500 camera-hours"):
        assert words in shown


def test_labels_can_be_chosen(files: list[str]) -> None:
    """Only the labels asked for count, by text or id."""
    chosen = ["--labels", "a person runs", "--label", "a-person-falls-down", "--json"]
    found = json.loads(CliRunner().invoke(app, [*files, *chosen], catch_exceptions=False).stdout)

    assert (found["events"], found["truth_events"], found["recall"]) == (1, 2, 0.5)


def test_events_come_from_a_pipe_too(files: list[str]) -> None:
    """`-` reads what `actionwire watch --json` prints."""
    arguments = [*files[:2], "--events", "-", "--json"]
    found = CliRunner().invoke(app, arguments, input=Path(files[3]).read_text(), catch_exceptions=False).stdout

    assert json.loads(found)["events"] == 2


EVENT = messages("a person runs", 3.5, 7.0)[0]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("truth", "{", "truth.json is not JSON"),
        ("truth", "[]", "does not hold a truth document"),
        ("truth", '{"schema": 7}', "expected 1"),
        ("events", '{"schema":1}', r"events.jsonl, line 1: event: label: must be an object"),
        ("truth", "[" * 100_000, "truth.json is not JSON: .*nested deeper"),
        ("truth", '{"schema":1,"seconds":NaN,"cameras":[]}', "truth.json is not JSON: NaN"),
        ("truth", '{"schema":1,"seconds":1e999,"cameras":[]}', "truth.json is not JSON: .*too large"),
        ("truth", '{"schema":1,"seconds":"\\ud800","cameras":[]}', "truth.json is not JSON: .*surrogate"),
        ("truth", json.dumps({**TRUTH, "cameras": [{"id": "a", "actions": [{"label": 7}]}]}), "actions.0.label"),
        ("truth", json.dumps({**TRUTH, "seconds": 10**400}), "truth.json: .*seconds"),
        ("truth", json.dumps({**TRUTH, "epoch": "x" * 20_000}), r"no instant such as .*: 'x{59}\.\.\.$"),
        ("events", json.dumps({**EVENT, "id": [1]}), r"events\.jsonl, line 1: event: id"),
        ("events", json.dumps({**EVENT, "camera": {}}), r"events\.jsonl, line 1: event: camera"),
        ("events", json.dumps({**EVENT, "sequence": "0"}), r"events\.jsonl, line 1: event: sequence"),
        ("events", "{" * 100_000, "events.jsonl, line 1: event is not JSON"),
        ("events", None, "cannot read .*events.jsonl"),
    ],
)
def test_a_wrong_file_is_named(files: list[str], name: str, content: str | None, words: str) -> None:
    """The message names the file, the line and the reason."""
    path = Path(files[files.index(f"--{name}") + 1])
    path.write_text(content) if content is not None else path.unlink()

    with pytest.raises(ConfigurationError, match=words):
        CliRunner().invoke(app, files, catch_exceptions=False)
