"""Captions and the pairs that training must not see."""

from __future__ import annotations

import numpy as np

from trainer.demo import phrases
from trainer.demo.phrases import Fact
from trainer.models.text import templates, word_tokenizer
from trainer.models.text.texts import texts_of
from trainer.scenes.vocabulary import ACTIONS, COLOURS, HELD_OUT, KEYS


def test_no_training_fact_names_a_held_out_pair() -> None:
    """What training may state leaves out exactly one colour per action."""
    seen = set(phrases.seen_facts())
    missing = {fact for fact in phrases.coloured_facts() if fact not in seen}
    assert missing == {Fact(key, colour) for key, colour in HELD_OUT.items()}
    assert len(phrases.coloured_facts()) == len(KEYS) * len(COLOURS)


def test_every_wording_of_every_caption_is_known_to_the_tokenizer() -> None:
    """No caption, held-out ones included, holds an unknown word or is cut off."""
    tokenizer = word_tokenizer.build_tokenizer(word_tokenizer.vocabulary(phrases.all_wordings()), 24)
    unknown = tokenizer.token_to_id(word_tokenizer.UNKNOWN)
    rng = np.random.default_rng(0)
    facts = [*phrases.coloured_facts(), *(Fact("hug", "red", colour) for colour in COLOURS)]
    texts = [
        templates.fill(template, wording)
        for fact in facts
        for wording in (phrases.canonical(fact), phrases.word(fact, rng))
        for template in templates.TEMPLATES
    ]
    for entry, text in zip(tokenizer.encode_batch(texts), texts, strict=True):
        assert unknown not in entry.ids and not entry.overflowing, text


def test_the_plain_wording_of_an_action_is_its_label() -> None:
    """What the demo watches for is what the model was trained on."""
    assert [phrases.canonical(Fact(action.key)) for action in ACTIONS] == [action.label for action in ACTIONS]


def test_a_model_of_own_clips_knows_the_words_of_the_scenes() -> None:
    """The common words are those of the phrases, so that both kinds of model are of one shape."""
    assert phrases.texts().words == texts_of(()).words


def test_other_wordings_belong_to_names_that_compete() -> None:
    """The threshold for synonyms compares each with its own name."""
    texts = phrases.texts()
    names = {text.text for text in texts.references if text.kind == "action"}
    assert {name for name, _ in texts.wordings} == names
