"""Truth documents: read as they are meant, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.analysis.ticks import REPLAY_EPOCH_NS, SECOND
from pipeline.errors import ConfigurationError
from pipeline.replay.truth import Action, read_truth

DOCUMENT: dict[str, Any] = {
    "schema": 1,
    "seed": 20000,
    "seconds": 120.0,
    "fps": 12,
    "cameras": [
        {
            "id": "camera-1",
            "file": "camera-1.mp4",
            "actions": [{"label": "a person runs", "key": "run", "start": 3.5, "end": 7.0, "actors": [0]}],
        },
        {"id": "camera-2", "file": "camera-2.mp4", "actions": [], "epoch": "2026-02-01T00:00:00Z", "seconds": 60},
    ],
}


def test_truth_is_read_as_scenes_write_it() -> None:
    """Time zero is that of a replay unless the document or a camera says otherwise."""
    truth = read_truth(DOCUMENT)

    assert truth.actions == (Action("camera-1", "a person runs", 3.5, 7.0),)
    assert truth.seconds == {"camera-1": 120.0, "camera-2": 60.0}
    assert truth.epochs_ns == {"camera-1": REPLAY_EPOCH_NS, "camera-2": 1_769_904_000 * SECOND}
    own = {"schema": 1, "cameras": [{"id": "gate", "seconds": 20, "actions": []}]}
    assert read_truth(own).seconds == {"gate": 20.0}  # every camera says how long it is, the document need not
    assert read_truth({**DOCUMENT, "epoch": "2026-01-01T00:00:01Z"}).epochs_ns["camera-1"] == REPLAY_EPOCH_NS + SECOND


@pytest.mark.parametrize(
    "document",
    [{}, {"schema": 2}, {"schema": 1, "seconds": 1}, {**DOCUMENT, "epoch": "yesterday"}, {**DOCUMENT, "cameras": [{}]}],
)
def test_a_malformed_truth_is_refused(document: dict[str, Any]) -> None:
    """What is missing is named."""
    with pytest.raises(ConfigurationError, match="truth"):
        read_truth(document)


def door(*actions: tuple[Any, Any], label: str = "fall", **more: Any) -> dict[str, Any]:
    """A document of one camera, 100 s long."""
    made = [{"label": label, "start": start, "end": end} for start, end in actions]
    return {"schema": 1, "seconds": 100, "cameras": [{"id": "door", "actions": made, **more}]}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (
            door((10, 20), (40_000, 50_000)),
            "'door': 'fall' from 40000 to 50000 s is beyond its end of 100 s; are these milli",
        ),
        (door((10, 20), (90, 101.5)), "beyond its end of 100 s"),
        (door((100, 100.5)), "beyond its end of 100 s"),
        (door((40, 30)), "'door': 'fall' from 40 to 30 s ends before"),
        (door((30, 30)), "ends before it has lasted"),
        (door((-50, -40)), "'door': 'fall' from -50 to -40 s begins before its recording"),
        (door((-1.5, 10)), "begins before its recording"),
        (door((10, 20), seconds=0), "'door' lasts 0 s; give it the length"),
        (door(seconds=-5), "'door' lasts -5 s"),
        (door((float("nan"), 20)), "start: .*finite"),
        (door((10, float("inf"))), "end: .*finite"),
        (door((10, 20), seconds=float("inf")), "seconds: .*finite"),
        (door((True, 20)), "start"),
        ({**door((10, 20)), "cameras": door((10, 20))["cameras"] * 2}, "names camera 'door' twice"),
        (
            {"schema": 1, "cameras": [{"id": "door", "seconds": n, "actions": []} for n in (100, 50)]},
            "names camera 'door' twice; write one entry",
        ),
    ],
)
def test_what_cannot_have_happened_is_refused(document: dict[str, Any], words: str) -> None:
    """With the camera and the value: a recall of one half would be believed."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        read_truth(document)

    assert str(caught.value).isprintable()


def test_an_overhang_of_a_second_is_cut_off() -> None:
    """Whoever marks by hand marks a little more than there is."""
    assert read_truth(door((-0.5, 10), (95, 100.9))).actions == (
        Action("door", "fall", 0.0, 10.0),
        Action("door", "fall", 95.0, 100.0),
    )


def test_class_names_become_words() -> None:
    """As in a list of clips, and in a calibration."""
    assert [one.label for one in read_truth(door((1, 2), label="OpenDoor")).actions] == ["open door"]
