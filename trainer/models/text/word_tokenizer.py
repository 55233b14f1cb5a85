"""A word-level tokenizer for text towers trained from scratch, as a `tokenizer.json` of the tokenizers library."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import NFKC, Lowercase, Sequence
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing

PAD, UNKNOWN, START, END = "[PAD]", "[UNK]", "[START]", "[END]"
_WORD = r"\p{L}[\p{L}\p{N}']*|\p{N}+|[^\s\p{L}\p{N}]"
_PYTHON_WORD = re.compile(r"[^\W\d_][\w']*|\d+|[^\w\s]")


def vocabulary(texts: Iterable[str]) -> tuple[str, ...]:
    """The distinct words and marks of `texts`, as the tokenizer will see them, in alphabetical order."""
    return tuple(sorted({word for text in texts for word in _PYTHON_WORD.findall(normal(text))}))


def normal(text: str) -> str:
    """The form in which texts are compared: NFKC (macOS writes an umlaut as two characters), in lower case."""
    return unicodedata.normalize("NFKC", text).lower()


def build_tokenizer(words: Iterable[str], context: int) -> Tokenizer:
    """A tokenizer that yields exactly `context` ids: start, words, end, padding.

    Unknown words map to [UNK]. The end token has the highest id, which is how open_clip's text tower finds it.
    """
    entries = [PAD, UNKNOWN, START, *words, END]
    ids = {entry: index for index, entry in enumerate(entries)}
    tokenizer = Tokenizer(WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = Sequence([NFKC(), Lowercase()])
    tokenizer.pre_tokenizer = Split(Regex(_WORD), behavior="removed", invert=True)
    tokenizer.post_processor = TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, ids[START]), (END, ids[END])]
    )
    tokenizer.enable_truncation(context)
    tokenizer.enable_padding(length=context, pad_id=ids[PAD], pad_token=PAD)
    return tokenizer
