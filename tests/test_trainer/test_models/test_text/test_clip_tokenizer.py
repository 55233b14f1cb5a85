"""The tokenizers written into bundles, against open_clip's own."""

import random
import re
import unicodedata
from html.entities import name2codepoint

import ftfy
import numpy as np
import open_clip
import pytest
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer, _clean_canonicalize, _clean_lower
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from trainer.errors import PretrainedError
from trainer.models.text.cleaning import cleaning
from trainer.models.text.clip_tokenizer import END, START, clip_tokenizer, convert

WORDS = [
    "a",
    "person",
    "falls",
    "down",
    "walking",
    "running",
    "the",
    "man's",
    "woman",
    "couldn't",
    "they're",
    "we've",
    "I'm",
    "he'll",
    "she'd",
    "PERSON",
    "in",
    "Red",
    "Blue-green",
    "t-shirt",
    "can't",
    "'quoted'",
    "hand-shake",
    "a.m.",
    "U.S.A.",
    "naïve",
    "café",
    "Ångström",
    "ΟΔΟΣ",
    "ΣΑΣ",
    "don''t",
    "#1",
    "50%",
    "$9.99",
    "__init__",
]
REFERENCES = [
    "&amp;",
    "&lt;",
    "&gt;",
    "&quot;",
    "&#39;",
    "&#x27;",
    "&nbsp;",
    "&eacute;",
    "&EACUTE;",
    "&copy",
    "&copyright",
    "&notin;",
    "&notit;",
    "&amp;amp;",
    "&amp;lt;",
    "&hellip;",
    "&mdash;",
    "&ldquo;",
    "&rsquo;",
    "&#8217;",
    "&#233;",
    "&#128;",
    "&#0;",
    "&bogus;",
    "&",
    "&&amp;",
    "&Tab;",
    "&frac12",
    "&AMP;",
    "&#8212",
    "&#x2019;",
]
ODD = [
    *"“”‘’‚‛„‟…–—−ʼﬁﬂﬃﬆﬅĲǆŉ　！Ａｂｃ１２３ｶﾞｱﾊﾟ￦½²³ⅣⅷªºµßẞİıſΣσςΆΐé́ñü¿¡€£¥§©®™°•·",
    *("\u200b", "\u200d", "\ufe0f", "\u2028", "\u2029", "\x85", "\xa0", "\u3000", "\ufeff", "\u00ad", "\u212b"),
    *(
        "e\u0301",
        "A\u030a",
        "\u1100\u1161\u11a8",
        "👩‍👩‍👧",
        "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
        "🇩🇪",
        "😀",
        "✊🏽",
        "中文字符",
        "日本語テスト",
        "한국어",
    ),
    *("русский", "العربية", "עִבְרִית", "हिन्दी", "ไทย"),
    *("\x00", "\x07", "\x1b[31m", "\x0b", "\x0c", "\x1f", "\x7f", "\u206a", "\ufffc", "\ufffd"),
]
PRINTABLE = [chr(point) for point in range(32, 127)]
ASSIGNED = [chr(point) for point in range(32, 0x30000) if unicodedata.category(chr(point)) not in ("Cn", "Cs", "Co")]


def _text(rng: random.Random) -> str:
    def some(pool, most, least=1):
        return [rng.choice(pool) for _ in range(rng.randint(least, most))]

    kinds = (
        (30, lambda: " ".join(some(WORDS, 12))),
        (15, lambda: "".join(some(PRINTABLE, 40, 0))),
        (15, lambda: rng.choice(("", " ", "  ")).join(some(WORDS + REFERENCES, 8))),
        (20, lambda: rng.choice(("", " ", "\t", "\n", "\r\n")).join(some(WORDS + ODD, 10))),
        (10, lambda: "".join(some(ASSIGNED, 12))),
        (4, lambda: "".join(some(ODD + REFERENCES + PRINTABLE, 14))),
        (1, lambda: " ".join(some(WORDS, 200, 60))),
        (2, lambda: f"{rng.randint(0, 10**9)}{rng.choice(('', 'th', ' %', '.5', chr(39) + 's'))}"),
        (
            1,
            lambda: rng.choice(("", " ", "   ", "\t\n", "x" * rng.randint(100, 900), "!" * 99, "<b>b", "it's" * 40)),
        ),
    )
    return rng.choices([make for _, make in kinds], [weight for weight, _ in kinds])[0]()


def _excepted(text: str) -> bool:
    """The classes of texts that the documentation of `trainer.models.text.cleaning` names."""
    if ftfy.fix_text(text) != ftfy.fix_text(text, fix_encoding=False):
        return True
    if "<" in text and "&" in text:
        return True
    named = {chr(point) for point in name2codepoint.values()}
    return any(
        ord(char) > 255 and not 0x2000 <= ord(char) < 0x2070 and char not in named
        for number in re.findall(r"&#0*(\d+)", text)
        if (char := chr(min(int(number), 0x10FFFF)))
    )


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Eleven thousand different texts of all kinds, less the excepted ones."""
    rng = random.Random(7)
    drawn = dict.fromkeys(_text(rng) for _ in range(12_000))
    kept = [text for text in drawn if not _excepted(text)]
    assert len(kept) > 10_500
    assert len(kept) > 0.99 * len(drawn)
    return kept


@pytest.fixture(scope="module")
def converted() -> Tokenizer:
    """CLIP's tokenizer, once through its JSON form."""
    return Tokenizer.from_str(convert(open_clip.get_tokenizer("ViT-B-32")).to_str())


def _ids(tokenizer: Tokenizer, texts: list[str]) -> np.ndarray:
    return np.array([encoding.ids for encoding in tokenizer.encode_batch(texts)])


def _same(tokenizer: Tokenizer, reference, texts: list[str]) -> None:
    differing = np.flatnonzero((_ids(tokenizer, texts) != reference(texts).numpy()).any(axis=1))
    assert not differing.size, [texts[index] for index in differing[:5]]


def test_ids_equal_open_clip_over_ten_thousand_texts(converted, texts):
    """Plain, odd and hostile texts get the ids that open_clip's own tokenizer gives them."""
    _same(converted, open_clip.get_tokenizer("ViT-B-32"), texts)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a photo of a person",
        "x" * 3000,
        "word " * 500,
        f"before {END} after",
        f"{START}{END}",
        "A\u0301\x00B",
        "ΟΔΟΣ.",
    ],
)
def test_awkward_texts(converted, text):
    """Empty, endless and special texts are cut, padded and closed as open_clip does it."""
    _same(converted, open_clip.get_tokenizer("ViT-B-32"), [text])


def test_other_context_length():
    """The context length decides padding and truncation, and the last token of a full row is the end token."""
    _same(clip_tokenizer(16), SimpleTokenizer(context_length=16), ["a person", "word " * 40])
    assert clip_tokenizer(16).encode("word " * 40).ids[-1] == 49407


@pytest.mark.parametrize(("kind", "reference"), [("lower", _clean_lower), ("canonicalize", _clean_canonicalize)])
def test_cleaning_equals_open_clip(kind, reference, texts):
    """The normaliser's text is open_clip's cleaned text, letter for letter."""
    normalizer = cleaning(kind)
    for text in texts[:2500]:
        assert normalizer.normalize_str(text) == reference(text), repr(text)


@pytest.mark.parametrize("text", ["schÃ¶n", "donâ€™t", "caf&#233; <b>&ldquo;</b>", "&NotEqualTilde;"])
def test_excepted_classes_are_real(text):
    """What the documentation excepts does differ; should a library learn it, the exception can go."""
    assert cleaning("lower").normalize_str(text) != _clean_lower(text)


def _siglip_like() -> PreTrainedTokenizerFast:
    """A small sentencepiece-style tokenizer as SigLIP's: Unigram, metaspace, `</s>` at the end, padded with it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=400, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    rng = random.Random(3)
    tokenizer.train_from_iterator([" ".join(rng.choices(WORDS, k=8)).lower() for _ in range(400)], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="</s>", eos_token="</s>", unk_token="<unk>", model_max_length=64
    )


@pytest.mark.parametrize("clean", ["canonicalize", "lower", "whitespace"])
def test_sentencepiece_tokenizer_of_a_folder(tmp_path, clean, texts):
    """A Hugging Face tokenizer gives open_clip's ids, cleaning included; `</s>` written out is text once cleaned."""
    _siglip_like().save_pretrained(tmp_path)
    reference = HFTokenizer(str(tmp_path), context_length=24, clean=clean)
    written = ["</s> a person <pad> walks", "a </s>"] if clean == "canonicalize" else []
    _same(Tokenizer.from_str(convert(reference).to_str()), reference, [*texts[:2500], *written])


def test_refuses_what_cannot_be_expressed():
    """Tokenizers that draw at random, or that are no fast ones, are refused with the reason."""
    with pytest.raises(PretrainedError, match="at random"):
        convert(SimpleTokenizer(reduction_mask="random"))
    with pytest.raises(PretrainedError, match=r"tokenizer\.json"):
        convert(object())
