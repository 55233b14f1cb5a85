import numpy as np

from trainer.scenes.captions import BACKGROUND, all_captions, background_captions, canonical, captions
from trainer.scenes.script import draw_clip, draw_stream
from trainer.scenes.stage import Event
from trainer.scenes.vocabulary import BY_KEY, COLOURS, KEYS


def test_plain_captions_name_action_clothes_and_both_people():
    """The plain caption of an action, with no, one or both colours."""
    assert canonical("fall") == "a person falls down"
    assert canonical("fall", ("red",)) == "a person in red falls down"
    assert canonical("punch", ("red",)) == "a person in red punches someone"
    assert canonical("punch", ("red", "blue")) == "a person in red punches a person in blue"
    assert canonical("hug") == "two people hug"
    assert canonical("shake_hands", ("red", "blue")) == "a person in red shakes hands with a person in blue"


def test_a_caption_names_what_it_says_it_names():
    """The colours a caption carries occur in its text, in order, and no other colour does."""
    rng = np.random.default_rng(0)
    for key in KEYS:
        actors = ("red", "blue")[: BY_KEY[key].actors]
        event = Event(key, BY_KEY[key].label, 0.0, 1.0, actors, tuple(range(len(actors))))
        found = captions(event, rng, 200)
        for caption in found:
            named = [word for word in caption.text.split() if word in COLOURS]
            assert named == [colour for colour in caption.colours if colour], caption
            assert caption.key == key
        assert len({caption.text for caption in found}) >= 6
        assert 0.3 < np.mean([bool(caption.colours and caption.colours[0]) for caption in found]) < 0.75


def test_whoever_is_hit_is_never_said_to_hit():
    """Red punches blue: blue is never the first one named; in a hug either may be."""
    rng = np.random.default_rng(0)
    for key, first in (("punch", {"red", None}), ("hug", {"red", "blue", None})):
        event = Event(key, BY_KEY[key].label, 0.0, 1.0, ("red", "blue"), (0, 1))
        assert {caption.colours[0] for caption in captions(event, rng, 300) if caption.colours} == first


def test_a_colour_without_a_name_is_not_named():
    """Captions of someone in an unnamed colour speak of a person."""
    event = Event("jump", "a person jumps", 0.0, 1.0, (None,), (0,))
    assert not {
        word for caption in captions(event, np.random.default_rng(0), 50) for word in caption.text.split()
    } & set(COLOURS)


def test_background_captions_fit_the_number_of_people():
    """Nobody in the picture is said to be nobody; a crowd is not said to be a single person."""
    rng = np.random.default_rng(0)
    for seed in range(20_000, 20_030):
        scene = draw_clip(seed, None)
        for caption in background_captions(scene, rng, 4):
            assert caption.key is None
            assert "{" not in caption.text
            present = sum(all(part.motion != "away" for part in person.segments) for person in scene.people)
            if present > 1:
                assert not caption.text.startswith(("a person", "nobody"))


def test_fixed_background_texts_name_no_action():
    """The list for reference texts holds no placeholder and no action."""
    assert len(BACKGROUND) >= 8
    assert not set(BACKGROUND) & {action.label for action in BY_KEY.values()}


def test_all_captions_cover_every_pair():
    """Sixteen plain texts and one for each of the 128 pairs, all different."""
    found = all_captions()
    assert len({caption.text for caption in found}) == len(found) == 16 + 128


def test_a_stream_has_a_caption_for_every_event():
    """Captions can be drawn for whatever a stream's truth holds."""
    rng = np.random.default_rng(0)
    assert all(captions(event, rng, 2) for event in draw_stream(20_000, 60.0).events)
