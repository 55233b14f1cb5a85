"""The texts around a model trained from scratch."""

from __future__ import annotations

from trainer.models.text.templates import TEMPLATES, fill
from trainer.models.text.texts import BACKGROUNDS, texts_of
from trainer.models.text.word_tokenizer import UNKNOWN, build_tokenizer


def test_a_model_of_own_clips_reads_its_labels_in_every_template_and_the_backgrounds() -> None:
    """No word of them is unknown, and each label competes with the others and with the backgrounds."""
    texts = texts_of(("Open the gate", "Zutritt"))
    tokenizer = build_tokenizer(texts.words, 24)
    said = [*BACKGROUNDS, *(fill(template, label) for template in TEMPLATES for label in ("open the gate", "zutritt"))]
    assert all(UNKNOWN not in entry.tokens for entry in tokenizer.encode_batch(said))
    assert [text.text for text in texts.references if text.kind == "action"] == ["Open the gate", "Zutritt"]
    assert texts.wordings == ()


def test_a_model_reads_the_templates_that_its_recipe_brings() -> None:
    """A word that only a template of one's own has is known; without that template it is not."""
    assert "footage" in texts_of(("run",), ("footage of {}",)).words
    assert "footage" not in texts_of(("run",)).words


def test_texts_of_the_users_own_background_stand_beside_ours() -> None:
    """Their words are known, and every label competes with them; one that is ours already stands there once."""
    texts = texts_of(("run",), backgrounds=("a door swings", "nothing happens"))
    assert {"door", "swings"} <= set(texts.words)
    said = [text.text for text in texts.references if text.kind == "background"]
    assert said == [*BACKGROUNDS, "a door swings"]


def test_the_vocabulary_does_not_depend_on_the_order_of_labels() -> None:
    """A list of clips in another order gives the same model."""
    assert texts_of(("run", "jump fence")).words == texts_of(("jump fence", "run")).words
