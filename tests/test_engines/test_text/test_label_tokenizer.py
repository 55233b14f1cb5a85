"""Which words of a label a bundle knows, by kind of tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from engines.bundle.files import Bundle, load, seal, write_draft
from engines.bundle.store import demo_path
from engines.errors import TextError
from engines.text.label_tokenizer import LabelTokenizer
from engines.text.text_bank import TextEncoder

Copy = Callable[[Bundle], Path]


def with_tokenizer(path: Path, tokenizer: Tokenizer) -> Bundle:
    """The bundle at `path`, sealed again with another tokenizer."""
    manifest = load(path).manifest
    (path / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    write_draft(path, manifest)
    seal(path)
    return load(path)


@pytest.fixture(scope="module")
def demo() -> LabelTokenizer:
    """The tokenizer of the bundle that ships: a closed vocabulary of whole words."""
    return LabelTokenizer(load(demo_path(), check_files=False))


@pytest.mark.parametrize(
    ("label", "unknown"),
    [
        ("a person falls down", ()),
        ("A  Person\nFALLS Down", ()),
        ("a zebra runs", ("zebra",)),
        ("a person climbs a fence", ("fence",)),
        ("two zebras chase a zebra, two zebras", ("zebras", "chase", "zebra")),
        ("a person's bag", ("person's", "bag")),
        ("a person falls down!", ("!",)),
        ("a t-shirt", ("t", "-")),
        ("ein Mensch fällt hin", ("ein", "Mensch", "fällt", "hin")),
        ("a person runs " * 8 + "zebra", ("zebra",)),
        ("[UNK] runs", ("[", "UNK", "]")),
        ("ｐｅｒｓｏｎ", ()),
    ],
)
def test_unknown_words_are_named_as_they_were_written(
    demo: LabelTokenizer, label: str, unknown: tuple[str, ...]
) -> None:
    """Case, spaces and width of letters do not matter; each unknown word or mark is named once, wherever it stands."""
    assert demo.unknown_words(label) == unknown


def test_a_label_is_refused_with_the_words_and_what_to_do(demo: LabelTokenizer) -> None:
    """The bundle, the words, the remedy, and for a slip of the pen the word that was meant; in one line."""
    with pytest.raises(TextError, match=r"demo@\S+ does not know 'fence' in the label 'a person climbs a fence'; say "):
        demo.label("a person climbs a fence")
    with pytest.raises(TextError, match=r"'preson' \(did you mean 'person'\?\), 'zebra' in") as raised:
        demo.label("a preson zebra")
    assert "\n" not in str(raised.value)


def test_word_pieces_leave_unknown_what_has_unknown_letters(tiny: Bundle) -> None:
    """A tokenizer of word pieces spells unknown words, but knows some letters only."""
    tokenizer = LabelTokenizer(tiny)

    assert tokenizer.unknown_words("a zebra is red") == ()
    assert tokenizer.unknown_words("человек is red 🙂") == ("человек", "🙂")


def test_bytes_know_every_word(tiny: Bundle, copy: Copy) -> None:
    """A tokenizer that spells in bytes, as CLIP's, has nothing to refuse; only its own marks are no words."""
    letters = {letter: place for place, letter in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), "<end>"])}
    tokenizer = Tokenizer(models.BPE(letters, [], unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<end>"])

    found = LabelTokenizer(with_tokenizer(copy(tiny), tokenizer))

    assert found.unknown_words("человек 🙂 a zebra") == ()
    assert found.unknown_words("a <end> zebra") == ("<end>",)


def test_pieces_of_a_unigram_model_are_widened_to_the_word(tiny: Bundle, copy: Copy) -> None:
    """Its unknown token has a number instead of a name, and stands for a part of a word."""
    pieces = [("<unk>", -9.0), ("▁", -2.0), *((letter, -3.0) for letter in "adegnorsu")]
    tokenizer = Tokenizer(models.Unigram(pieces, 0))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()

    found = LabelTokenizer(with_tokenizer(copy(tiny), tokenizer))

    assert found.unknown_words("a dog runs, a Zebra runs") == (",", "Zebra")


def test_a_bank_refuses_what_an_older_cache_let_pass(tmp_path: Path, copy: Copy, tiny: Bundle) -> None:
    """An embedding that was kept on disk does not make a label known, and texts as they are stay free."""
    encoder = TextEncoder(tiny, cache=tmp_path)
    encoder._tokenizer._unknown = None  # as versions before this one, which kept what they embedded
    encoder.bank(["человек"])
    encoder.close()

    again = TextEncoder(tiny, cache=tmp_path)
    with pytest.raises(TextError, match="does not know 'человек'"):
        again.bank(["человек"])
    assert again.embed(["человек"]).shape == (1, 16)
    again.close()
