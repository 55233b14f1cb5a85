"""The tokenizer of text towers that are trained from scratch."""

import unicodedata

from trainer.models.text.templates import same_words
from trainer.models.text.word_tokenizer import UNKNOWN, build_tokenizer, vocabulary

LABEL = "Tür öffnen"


def test_decomposed_letters_are_the_same_word() -> None:
    """A Mac writes an umlaut as two signs; a label written so must not become unknown words, alike for all labels."""
    apart = unicodedata.normalize("NFD", LABEL)
    assert apart != LABEL

    for known in (LABEL, apart):
        tokenizer = build_tokenizer(vocabulary([known]), 8)
        assert UNKNOWN not in tokenizer.encode(LABEL).tokens
        assert tokenizer.encode(LABEL).ids == tokenizer.encode(apart).ids
    assert same_words([LABEL, apart]) == (LABEL, apart)
