from collections import Counter

import numpy as np
import pytest

from trainer.scenes.actors.skeleton import JOINT, joints, perform
from trainer.scenes.picture.camera import inside
from trainer.scenes.script import draw_clip, draw_stream, window
from trainer.scenes.vocabulary import BY_KEY, COLOURS, HELD_OUT, KEYS, allowed

STREAMS = [draw_stream(seed, 120.0) for seed in range(20_000, 20_030)]


def bodies(scene, person, times):
    """Joint positions and presence of one of the cast at some instants."""
    poses, places, headings, present = perform(scene.people[person], np.asarray(times))
    return joints(scene.people[person].body, poses, places, headings), present


def events(key):
    """Every event of a key in the streams, with its scene."""
    found = [(scene, event) for scene in STREAMS for event in scene.events if event.key == key]
    assert found, key
    return found


def test_the_same_seed_draws_the_same_scene():
    """Equal seeds give equal scenes, other seeds others."""
    assert draw_stream(7, 30.0) == draw_stream(7, 30.0)
    assert draw_stream(7, 30.0) != draw_stream(8, 30.0)
    assert draw_clip(7, "kick") == draw_clip(7, "kick")


def test_streams_show_all_actions_at_a_natural_rate():
    """Six to ten events a minute; every action has at least 2 % of them and none more than a fifth."""
    counts = Counter(event.key for scene in STREAMS for event in scene.events)
    total = sum(counts.values())
    assert 6 <= total / (2 * len(STREAMS)) <= 10
    assert set(counts) == set(KEYS)
    assert all(0.02 <= counts[key] / total <= 0.2 for key in KEYS), counts


def test_mostly_one_action_at_a_time():
    """Less than 5 % of the time shows two actions at once, and at least 40 % shows none."""
    times = np.arange(0, 120, 0.1)
    active = np.concatenate(
        [sum((times >= event.start) & (times < event.end) for event in scene.events) for scene in STREAMS]
    )
    assert (active > 1).mean() < 0.05
    assert (active == 0).mean() > 0.4


def test_events_are_in_order_inside_the_stream_and_long_enough():
    """Truth is sorted by start, lies inside the stream and holds nothing shorter than 0.3 s."""
    for scene in STREAMS:
        assert [event.start for event in scene.events] == sorted(event.start for event in scene.events)
        for event in scene.events:
            assert 0 <= event.start < event.end <= scene.seconds
            assert event.end - event.start >= 0.3
            assert event.label == BY_KEY[event.key].label
            assert len(event.actors) == BY_KEY[event.key].actors
            assert event.actors == tuple(scene.people[person].body.top for person in event.people)


def test_segments_follow_each_other_without_a_gap():
    """Everyone does exactly one thing at any time.

    walk |---------|
    look           |-----|
    wave                 |------|
    """
    for scene in STREAMS:
        for person in scene.people:
            assert person.segments[0].start == 0
            assert person.segments[-1].end >= scene.seconds
            for before, after in zip(person.segments, person.segments[1:], strict=False):
                assert after.start == pytest.approx(before.end)


def test_nobody_jumps_from_place_to_place():
    """Between two instants 40 ms apart the pelvis of someone present moves less than 30 cm."""
    times = np.arange(0, 120, 0.04)
    for scene in STREAMS[:12]:
        for person in range(len(scene.people)):
            body, present = bodies(scene, person, times)
            step = np.linalg.norm(np.diff(body[:, JOINT["pelvis"]], axis=0), axis=1)
            assert step[present[1:] & present[:-1]].max(initial=0) < 0.3


def test_a_fall_goes_from_upright_to_the_ground_and_lying_follows():
    """fall |=====|, lie still directly after it, stand up directly after that.

    head high      |\\
    head low       |  \\______/
    fall           |===|
    lie still           |====|
    stand up                 |==|
    """
    for scene, event in events("fall"):
        body, _ = bodies(scene, event.people[0], [event.start, event.end, event.end + 0.5])
        head, height = body[:, JOINT["head"], 2], scene.people[event.people[0]].body.height
        assert head[0] > 0.7 * height
        assert head[1] < 0.35 * height
        if event.end < scene.seconds - 0.5:
            assert any(
                other.key == "lie_still" and other.people == event.people and abs(other.start - event.end) < 0.01
                for other in scene.events
            )


def test_lying_still_is_lying_and_still():
    """Whoever lies still has the head near the ground and moves less than 5 cm a second after settling."""
    for scene, event in events("lie_still"):
        body, _ = bodies(scene, event.people[0], np.arange(event.start + 0.6, event.end, 0.25))
        assert body[:, JOINT["head"], 2].max(initial=0) < 0.6
        steps = np.linalg.norm(np.diff(body[:, JOINT["head"]], axis=0), axis=1)
        assert steps.max(initial=0) < 0.05 * 0.25 * 4


def test_standing_up_ends_where_standing_begins():
    """Stand up: the head rises during the event by at least 20 cm, and rises no more after it."""
    for scene, event in events("stand_up"):
        if event.end > scene.seconds - 0.2:
            continue
        body, _ = bodies(scene, event.people[0], [event.start, event.end, event.end + 0.15])
        head = body[:, JOINT["head"], 2]
        assert head[1] - head[0] > 0.2
        assert abs(head[2] - head[1]) < 0.1


@pytest.mark.parametrize("key", ["walk", "run"])
def test_someone_who_walks_or_runs_is_in_the_picture(key):
    """A runner who left the picture is not running: at both ends of the event half of the body can be seen."""
    for scene, event in events(key):
        body, present = bodies(scene, event.people[0], np.linspace(event.start, event.end - 0.05, 5))
        assert present.all()
        assert (inside(scene.camera, body).mean(axis=1) >= 0.4).all()


def test_nobody_walks_or_runs_unlabelled():
    """Every walking segment whose person can be seen for half a second is in the truth."""
    for scene in STREAMS:
        for number, person in enumerate(scene.people):
            for segment in person.segments:
                if segment.motion in ("walk", "run") and segment.start < scene.seconds - 2:
                    assert any(
                        event.key == segment.motion and event.people == (number,)
                        and event.start >= segment.start - 0.01 and event.end <= segment.end + 0.01
                        for event in scene.events
                    )  # fmt: skip


def test_people_act_inside_the_picture():
    """At the middle of every action on the spot at least 80 % of the actors' joints fall into the picture."""
    for scene in STREAMS:
        for event in scene.events:
            if event.key in ("walk", "run"):
                continue
            for person in event.people:
                body, _ = bodies(scene, person, [0.5 * (event.start + event.end)])
                assert inside(scene.camera, body).mean() >= 0.8, (scene.seed, event)


def test_train_streams_never_show_a_held_out_pair():
    """Streams of train seeds hold no held-out (colour, action) pair; test streams do."""
    for seed in range(60):
        for event in draw_stream(seed, 60.0).events:
            assert allowed(event.key, event.actors[0], "seen"), (seed, event)
    shown = {(event.key, event.actors[0]) for scene in STREAMS for event in scene.events}
    assert shown & set(HELD_OUT.items())


@pytest.mark.parametrize("key", KEYS)
def test_a_clip_is_filled_by_its_action(key):
    """A clip of 2.5 s shows its action at its middle, done by someone in the colour that was asked for.

    |     2.5 s     |
    |   |=action=|  |
    """
    for seed, colour in enumerate(sorted(COLOURS), start=20_000):
        scene = draw_clip(seed, key, colour=colour)
        event = next(event for event in scene.events if event.key == key)
        assert event.actors[0] == colour
        assert event.start <= 1.25 <= event.end
        assert scene.seconds == 2.5


def test_clips_of_unseen_pairs_are_held_out_ones():
    """`pairs="unseen"` draws only the held-out colour of an action, `"seen"` never."""
    for key in KEYS:
        event = next(event for event in draw_clip(20_500, key, pairs="unseen").events if event.key == key)
        assert event.actors[0] == HELD_OUT[key]
        with pytest.raises(ValueError, match="no pair"):
            draw_clip(3, key, colour=HELD_OUT[key])


def test_a_background_clip_shows_no_action():
    """Without an action the truth of a clip is empty."""
    assert all(draw_clip(seed, None).events == () for seed in range(30))


@pytest.mark.parametrize(
    ("action", "colour", "message"), [("dance", None, "no action"), ("walk", "mauve", "no colour")]
)
def test_unknown_words_are_refused_by_name(action, colour, message):
    """An unknown action or colour is named together with the known ones."""
    with pytest.raises(ValueError, match=message):
        draw_clip(1, action, colour=colour)


def test_a_window_shifts_time_and_clips_events():
    """Events of a window count from its beginning and end with it.

    stream  0....|=====a=====|......
    window          |--------|         start in the middle of a
    truth           |===a====|
    """
    scene = STREAMS[0]
    event = scene.events[0]
    middle = 0.5 * (event.start + event.end)
    part = window(scene, middle, 2.0)
    assert part.events[0].key == event.key
    assert part.events[0].start == 0.0
    assert part.events[0].end == pytest.approx(min(2.0, event.end - middle))
