"""What streams of a replay say of alarms, on scores that are given."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer.calibration.calibrate import Seen
from trainer.calibration.serving_commands import EPOCH_SECONDS, CameraScores, Scores
from trainer.calibration.spliced import HELD, Spliced
from trainer.calibration.streams import ActionTruth, Recorded
from trainer.real.stream import Streamed, alarms_at, fired, found


def seen(camera: str, scores: list[float], actions: list[ActionTruth]) -> Seen:
    """A stream of windows of one picture, one a second, with the scores of the label `a`."""
    count = len(scores)
    empty = np.zeros((count, 1, 1), np.float32)
    table = CameraScores(
        np.arange(count) + EPOCH_SECONDS, np.array(scores, np.float32)[:, None], empty, empty, empty[..., 0]
    )
    truth = {"schema": 1, "cameras": [{"id": camera, "seconds": float(count), "actions": actions}]}
    return Seen(Recorded({camera: Path("x")}, truth), Scores(1, ("a",), (), {camera: table}), Path("events"))  # type: ignore[arg-type]


def test_alarms_are_counted_at_the_threshold_that_finds_the_share(tmp_path: Path) -> None:
    """Two actions, of which one is found at 0.9 and the other at 0.5 only.

    clips  .1 .9 .1 .8 .1 .5 .1    found at 0.9: one of two, no alarm; at 0.5: both, and .8 and .7 are alarms
              a           a
    quiet  .1 .7 .7 .1
    """
    actions: list[ActionTruth] = [{"label": "a", "start": 1.1, "end": 1.3}, {"label": "a", "start": 5.1, "end": 5.3}]
    clips = seen("c", [0.1, 0.9, 0.1, 0.8, 0.1, 0.5, 0.1], actions)
    quiet = seen("q", [0.1, 0.7, 0.7, 0.1], [])
    shown = Streamed(clips, quiet, Spliced(clips.recorded, HELD), 1, 1.0)

    hours = 11 / 3600
    assert alarms_at(shown, 0.5).per_hour == 0
    both = alarms_at(shown, 1.0)
    assert both.recall == 1.0 and both.per_hour == pytest.approx(2 / hours)


def test_an_event_from_before_is_no_event_that_fired(tmp_path: Path) -> None:
    """Three actions: one fires in time, one while its window still shows it, one was open before it began.

    action  a..a      a..a      a..a
    events   |-a-|         |a|      (from the second 10 on)
    """
    actions: list[ActionTruth] = [{"label": "a", "start": at, "end": at + 3.0} for at in (2.0, 12.0, 22.0)]
    rows = []
    for number, (start, end) in enumerate(((3, 6), (15.5, 18), (10, 40))):
        event = {"camera": "c", "label": {"text": "a"}, "id": str(number), "end": None}
        instants = {name: f"2026-01-01T00:00:{seconds:06.3f}Z" for name, seconds in (("start", start), ("time", start))}
        rows.append({**event, **instants, "phase": "started"})
        ended = f"2026-01-01T00:00:{end:06.3f}Z"
        rows.append({**event, **instants, "phase": "ended", "time": ended, "end": ended})
    clips = seen("c", [0.0] * 50, actions)
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = Streamed(replace(clips, events=path), seen("q", [0.0], []), Spliced(clips.recorded, HELD), 1, 3.0)
    assert fired(shown) == pytest.approx(2 / 3) and found(shown) == 1.0
