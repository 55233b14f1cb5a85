"""`actionwire labels try`: frames of a camera, a bundle that knows colours, and no change to anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.testing import solid, tiny_bundle
from pipeline.analysis.event_machine import EventContext
from pipeline.analysis.label_set import make
from pipeline.analysis.thresholds import Calibration, EventRules, resolve
from pipeline.analysis.ticks import tick_ns
from pipeline.broker.contract import Broker
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.reading import partitions_of
from pipeline.broker.topics import apply_topics
from pipeline.commands.enrol import teach
from pipeline.commands.try_label import Raised, Score, raised_by, run, tail
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.records.events import ModelReference
from pipeline.records.examples import Example, ExamplePicture
from pipeline.records.frames import FrameRecord, LabelsMarker, encode_stream_record
from pipeline.records.jpeg import encode_jpeg
from pipeline.records.labels import Label
from pipeline.records.wire import Message

FIRST = 7_160_000_000
TOPIC = "actionwire.frames"


def frame(camera: str, tick: int, colour: str) -> Message:
    """One frame that shows a colour."""
    jpeg = encode_jpeg(solid(colour), 95)
    return encode_stream_record(
        FrameRecord(camera, 1, tick - FIRST, tick, 4, tick_ns(tick, 4, camera), "arrival", 32, 32, jpeg)
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings that name a bundle which knows colours."""
    tiny_bundle(tmp_path / "tiny", frames=4)
    return Settings.model_validate(
        {
            "worker": {"bundle": str(tmp_path / "tiny")},
            "topics": {"partitions": 1},
            "kafka": {"bootstrap": "in-process"},
        }
    )


@pytest.fixture
def broker(settings: Settings) -> Iterator[Broker]:
    """Two cameras on one partition: `door` is blue, then red, then blue; then a marker and garbage."""
    broker = InProcessBroker()
    apply_topics(broker, settings)
    producer = broker.producer()
    for number in range(60):
        colour = "red" if 20 <= number < 44 else "blue"
        producer.send(TOPIC, frame("yard", FIRST + number, "green"))
        producer.send(TOPIC, frame("door", FIRST + number, colour))
    marker = encode_stream_record(LabelsMarker(7))
    producer.send(TOPIC, Message(None, marker.value, marker.headers, 0))
    producer.send(TOPIC, Message(b"door", b"garbage"))
    producer.flush(5)
    producer.close()
    yield broker
    broker.close()


def test_scores_follow_what_the_camera_shows(broker: Broker, settings: Settings) -> None:
    """The text scores high while its action is shown, and middling thresholds would have raised it once."""
    shown: list[Score] = []

    raised = run(broker, settings, "red", "door", past=60, live=0, show=shown.append).raised

    by_tick = {score.tick - FIRST: score.score for score in shown}
    assert sorted(by_tick) == list(range(3, 60))
    assert by_tick[35] > 0.8 > 0.2 > max(by_tick[15], by_tick[55])
    middle = next(one for one in raised if one.enter == 0.5)
    ((start, end),) = middle.events
    assert abs(start - FIRST - 22) <= 3
    assert abs(end - FIRST - 44) <= 3


def test_what_was_enrolled_is_tried_with_what_was_shown(broker: Broker, settings: Settings) -> None:
    """Words that mean nothing find red once red was shown; each example would have been found by the others."""
    fence = make({"text": "over the fence"})
    jpeg = {name: encode_jpeg(solid(name)) for name in ("red", "yellow")}

    def shown(length: int, colour: str = "red") -> Example:
        return Example(fence.id, 4, tuple(ExamplePicture(tick, 1.0, jpeg[colour]) for tick in range(length)))

    before = run(broker, settings, "over the fence", "door", past=60, live=0, show=lambda _: None)
    teach(broker, settings, fence, [shown(4), shown(5), shown(6, "yellow")], [])
    tried = run(broker, settings, "over the fence", "door", past=60, live=0, show=lambda _: None)

    assert all(not one.events for one in before.raised if one.enter >= 0.5) and before.left_out == ()
    (half,) = [one for one in tried.raised if one.enter == 0.5]
    assert len(half.events) == 1 and tried.per_day(half) == pytest.approx(86_400 / (57 / 4))
    assert min(tried.left_out[:2]) > 0.9 > 0.5 > tried.left_out[2] and tried.found(0.5) == 2


def test_what_comes_in_is_scored_too(broker: Broker, settings: Settings) -> None:
    """After the recent past it goes on with new frames for as long as it was told to."""
    shown: list[int] = []

    def show(score: Score) -> None:
        shown.append(score.tick - FIRST)
        if shown[-1] == 59:
            producer = broker.producer()
            producer.send(TOPIC, frame("yard", FIRST + 60, "green"))
            producer.send(TOPIC, frame("door", FIRST + 60, "red"))
            producer.flush(5)
            producer.close()

    run(broker, settings, "red", "door", past=3, live=1.5, show=show)

    assert shown == list(range(51, 61))


def test_nothing_is_changed(broker: Broker, settings: Settings) -> None:
    """No topic gets a record and no group a position."""
    topics = [settings.topics.name(name) for name in ("frames", "events", "state", "control", "dead", "cameras")]

    def ends() -> dict[str, int]:
        readers = {topic: broker.reader(partitions_of(broker, topic)) for topic in topics}
        return {topic: sum(end for _, end in reader.bounds(5).values()) for topic, reader in readers.items()}

    before = ends()
    run(broker, settings, "red", "door", past=5, live=0, show=lambda _: None)

    assert ends() == before
    assert broker.lag(settings.worker.group, TOPIC, 5)[partitions_of(broker, TOPIC)[0]] == before[TOPIC]


def test_a_camera_without_frames_is_said(broker: Broker, settings: Settings) -> None:
    """A wrong id is answered with where to look."""
    with pytest.raises(
        ConfigurationError, match=r"camera 'gate' has no frames in actionwire\.frames; `actionwire status`"
    ):
        run(broker, settings, "red", "gate", past=5, live=0, show=lambda _: None)


@pytest.mark.parametrize(("ticks", "first"), [(1, 59), (8, 52), (60, 0), (500, 0)])
def test_the_tail_is_the_newest_frames_of_one_camera(broker: Broker, ticks: int, first: int) -> None:
    """However many other records lie between, the last ticks of this camera come, and the reader stands at the end."""
    (partition,) = partitions_of(broker, TOPIC)
    reader = broker.reader([partition])

    found = tail(reader, partition, "door", ticks)

    ticks_found = [int(dict(record.headers)["tick"]) - FIRST for record in found]
    assert ticks_found == list(range(first, 60))
    assert reader.positions()[partition] == 122


CONTEXT = EventContext("door", 0, 4, ModelReference("b", "n", "v", "s"), 0, 8, 4.0)


def rules_with(**thresholds: float) -> EventRules:
    """The rules of one label, without limits of length."""
    free = {"backtrack_seconds": 0, "min_seconds": 0, "cooldown_seconds": 0, "max_seconds": 60}
    return resolve([Label("x", "x")], Calibration(free | thresholds, {}, 0, 0), {}, rate=4)


def test_every_threshold_is_played_through() -> None:
    """A higher threshold raises less; the label's own threshold is among them."""
    rules = rules_with(enter=0.65, exit=0.325, confirm=2, merge_seconds=0.5)
    #        0 .35  .6  .6  .6  .0  .0  .0  .9  .9  .0  .0  .0
    drawn = [0, 3.5, 6, 6, 6, 0, 0, 0, 9.5, 9.5, 0, 0, 0]
    scores = [Score(tick, value / 10) for tick, value in enumerate(drawn)]

    raised = {one.enter: one.events for one in raised_by(scores, rules, CONTEXT)}

    assert raised[0.3] == ((1, 4), (8, 9))
    assert raised[0.5] == ((2, 4), (8, 9))
    assert raised[0.65] == raised[0.9] == ((8, 9),)


def test_a_new_session_begins_from_nothing() -> None:
    """When ticks go back, the open event ends and the next one starts on its own."""
    rules = rules_with(enter=0.5, exit=0.3, confirm=1, merge_seconds=9)

    raised = raised_by([Score(tick, 0.95) for tick in (50, 51, 10, 11)], rules, CONTEXT)

    assert raised[-1] == Raised(0.9, ((50, 51), (10, 11)))
