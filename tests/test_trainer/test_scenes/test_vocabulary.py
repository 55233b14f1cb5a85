import pytest

from trainer.scenes.vocabulary import BY_KEY, COLOURS, HELD_OUT, KEYS, allowed, split_of


def test_every_action_and_every_colour_has_seen_and_unseen_pairs():
    """Each action withholds one of the colours, each colour is withheld from two actions."""
    assert set(HELD_OUT) == set(KEYS)
    for key in KEYS:
        assert sum(allowed(key, colour, "unseen") for colour in COLOURS) == 1
        assert sum(allowed(key, colour, "seen") for colour in COLOURS) == len(COLOURS) - 1
    for colour in COLOURS:
        assert sum(allowed(key, colour, "unseen") for key in KEYS) == 2
        assert all(allowed(key, colour, "all") for key in KEYS)


def test_a_colour_without_a_name_is_always_seen():
    """No caption can name an unnamed colour, so it belongs to no held-out pair."""
    assert all(allowed(key, None, "seen") and not allowed(key, None, "unseen") for key in KEYS)


@pytest.mark.parametrize(
    ("seed", "split"),
    [
        (0, "train"),
        (9_999, "train"),
        (10_000, "validate"),
        (19_999, "validate"),
        (20_000, "test"),
        (4_000_000_000, "test"),
    ],
)
def test_split_of_a_seed(seed, split):
    """Ten thousand seeds train, ten thousand validate, all others are for tests and the demo."""
    assert split_of(seed) == split


def test_a_negative_seed_has_no_split():
    """A negative seed is a mistake and is said to be one."""
    with pytest.raises(ValueError, match="-1 is negative"):
        split_of(-1)


def test_sixteen_actions_with_texts_of_their_own():
    """The keys and the canonical texts are all different, and four actions need two people."""
    assert len(KEYS) == len({action.label for action in BY_KEY.values()}) == 16
    assert {key for key in KEYS if BY_KEY[key].actors == 2} == {"punch", "kick", "hug", "shake_hands"}
