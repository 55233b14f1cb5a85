"""Captions and the pairs that training must not see."""

from __future__ import annotations

import numpy as np

from trainer import prompts, words
from trainer.prompts import Fact
from trainer.scenes.vocabulary import ACTIONS, COLOURS, HELD_OUT, KEYS


def test_the_templates_are_those_of_the_release() -> None:
    """Sixteen, each with one place for the label, the bare label among them."""
    assert len(prompts.TEMPLATES) == 16 and all(template.count("{}") == 1 for template in prompts.TEMPLATES)
    assert prompts.TEMPLATES[prompts.BARE] == "{}"


def test_no_training_fact_names_a_held_out_pair() -> None:
    """What training may state leaves out exactly one colour per action."""
    seen = set(prompts.seen_facts())
    missing = {fact for fact in prompts.coloured_facts() if fact not in seen}
    assert missing == {Fact(key, colour) for key, colour in HELD_OUT.items()}
    assert len(prompts.coloured_facts()) == len(KEYS) * len(COLOURS)


def test_every_wording_of_every_caption_is_known_to_the_tokenizer() -> None:
    """No caption, held-out ones included, holds an unknown word or is cut off."""
    tokenizer = words.build_tokenizer(words.vocabulary(prompts.all_wordings()), 24)
    unknown = tokenizer.token_to_id(words.UNKNOWN)
    rng = np.random.default_rng(0)
    facts = [*prompts.coloured_facts(), *(Fact("hug", "red", colour) for colour in COLOURS)]
    texts = [
        prompts.fill(template, wording)
        for fact in facts
        for wording in (prompts.canonical(fact), prompts.word(fact, rng))
        for template in prompts.TEMPLATES
    ]
    for entry, text in zip(tokenizer.encode_batch(texts), texts, strict=True):
        assert unknown not in entry.ids and not entry.overflowing, text


def test_the_plain_wording_of_an_action_is_its_label() -> None:
    """What the demo watches for is what the model was trained on."""
    assert [prompts.canonical(Fact(action.key)) for action in ACTIONS] == [action.label for action in ACTIONS]


def test_class_names_are_parted_into_words() -> None:
    """CamelCase and underscores become spaces; plain text stays."""
    assert prompts.spaced("ApplyEyeMakeup") == prompts.spaced("apply_eye_makeup") == "apply eye makeup"
    assert prompts.spaced("a person falls") == "a person falls"
