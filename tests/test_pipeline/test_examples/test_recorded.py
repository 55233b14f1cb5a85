"""Examples from what the cluster still holds: a stretch of a camera, and the window of an event."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from pipeline.analysis.ticks import tick_ns
from pipeline.broker.contract import Broker
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.topics import apply_topics
from pipeline.broker.writing import write_messages
from pipeline.config.settings import Settings
from pipeline.config.topics import TopicsSettings
from pipeline.errors import ConfigurationError
from pipeline.examples.recorded import event_of, example_of_camera, example_of_event
from pipeline.records.events import ActionEvent, Evidence, encode_event
from pipeline.records.frames import encode_stream_record
from pipeline.records.jpeg import encode_jpeg
from pipeline.testing import frame, sample_event

SETTINGS = Settings(topics=TopicsSettings(partitions=1))
FRAMES, EVENTS = SETTINGS.topics.name("frames"), SETTINGS.topics.name("events")
JPEGS = [encode_jpeg(np.full((8, 8, 3), number * 20, np.uint8)) for number in range(10)]


@pytest.fixture
def broker() -> Iterator[Broker]:
    """Ten frames of the gate, one a tick from tick 100 on; before each one of the yard, so offsets are even and odd."""
    made = InProcessBroker()
    apply_topics(made, SETTINGS)
    for number, jpeg in enumerate(JPEGS):
        both = [frame(camera, 100 + number, jpeg=jpeg) for camera in ("yard", "gate")]
        write_messages(made, FRAMES, [encode_stream_record(one) for one in both], 5)
    yield made
    made.close()


def event(first: int, last: int, **changes: object) -> ActionEvent:
    """An event of the gate whose peak window lies between these offsets."""
    return sample_event(camera="gate", session=1, evidence=Evidence(FRAMES, 0, first, last), **changes)


def instant(tick: int) -> int:
    """When the gate captured this tick."""
    return tick_ns(tick, 4, "gate")


def test_a_stretch_of_a_camera(broker: Broker) -> None:
    """The frames between two instants, of this camera alone, as they were published."""
    example = example_of_camera(broker, SETTINGS, "fence", "gate", instant(102), instant(105))
    assert [(one.tick, one.jpeg) for one in example.pictures] == list(enumerate(JPEGS[2:6]))
    assert "camera gate from" in example.source


def test_the_window_at_the_peak_of_an_event(broker: Broker) -> None:
    """Between the offsets that the event names, of its camera and session."""
    example = example_of_event(broker, SETTINGS, "fence", event(5, 11))
    assert [one.jpeg for one in example.pictures] == JPEGS[2:6]


def test_what_is_not_there_is_said(broker: Broker) -> None:
    """A camera that is gone, a stretch without frames, one across a new session, frames that retention deleted."""
    with pytest.raises(ConfigurationError, match=r"camera 'roof' has no frames in .*`actionwire status` lists"):
        example_of_camera(broker, SETTINGS, "fence", "roof", instant(102), instant(105))
    with pytest.raises(ConfigurationError, match=r"no frames; those of .* are there"):
        example_of_camera(broker, SETTINGS, "fence", "gate", instant(202), instant(205))
    with pytest.raises(ConfigurationError, match="the end is not after the beginning"):
        example_of_camera(broker, SETTINGS, "fence", "gate", instant(105), instant(102))
    newer = [encode_stream_record(frame("gate", 110 + tick, session=2, jpeg=JPEGS[0])) for tick in range(3)]
    write_messages(broker, FRAMES, newer, 5)
    with pytest.raises(ConfigurationError, match="the camera was connected anew meanwhile"):
        example_of_camera(broker, SETTINGS, "fence", "gate", instant(102), instant(112))
    with pytest.raises(ConfigurationError, match=r"the frames of event .* are gone"):
        example_of_event(broker, SETTINGS, "fence", event(5, 9999))


def test_an_event_is_named_by_how_its_id_begins(broker: Broker) -> None:
    """The newest message of it counts; what is unknown, ambiguous or too short is refused."""
    over = {"phase": "ended", "sequence": 1, "end_ns": instant(108), "end_tick": 108, "reason": "score"}
    started, ended = event(5, 11), event(5, 11, **over)
    other = replace(started, id=started.id[:-1] + "1")
    write_messages(broker, EVENTS, [encode_event(one, "/a") for one in (started, ended)], 5)
    assert event_of(broker, SETTINGS, started.id[:8]).phase == "ended"
    write_messages(broker, EVENTS, [encode_event(other, "/a")], 5)
    assert event_of(broker, SETTINGS, started.id).phase == "ended"
    with pytest.raises(ConfigurationError, match="2 events have an id that begins with"):
        event_of(broker, SETTINGS, started.id[:8])
    with pytest.raises(ConfigurationError, match=r"no event ffffff in .*`actionwire watch --json` shows ids"):
        event_of(broker, SETTINGS, "ffffff")
    with pytest.raises(ConfigurationError, match="at least 6 characters"):
        event_of(broker, SETTINGS, "fff")
