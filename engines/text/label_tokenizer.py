"""A bundle's tokenizer: a label to tokens, and what of a label the bundle cannot read. Needs no runtime.

A tokenizer with a closed vocabulary turns every word that it does not know into one and the same token, so that "a dog
runs" and "a zebra runs" would score alike to the last bit. Such a label is refused by name. CLIP's tokenizer spells
unknown words in bytes: it knows every word.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tokenizers import Encoding, Tokenizer

from engines.bundle.files import Bundle
from engines.canonical import spaced
from engines.errors import BundleError, TextError

_SHOWN = 60
"""Characters of a long label that a message shows."""


class LabelTokenizer:
    """Tokens of labels and other texts. Thread-safe."""

    def __init__(self, bundle: Bundle) -> None:
        """Read the bundle's `tokenizer.json`. Raises BundleError where it is none."""
        self._bundle, self._templates = bundle, bundle.manifest.score.templates
        self._length = bundle.manifest.text.context_length
        content = bundle.read("tokenizer.json")
        try:
            self._tokenizer = Tokenizer.from_buffer(content)
        except Exception as error:  # the library raises plain Exception
            where = bundle.path / "tokenizer.json"
            raise BundleError(f"{where} is not a tokenizer ({error}); export the bundle again") from error
        self._unknown = _unknown_token(json.loads(content)["model"])

    def encode(self, text: str) -> Encoding:
        """Tokens of a text as it is: no template, and what is too long is cut off. Raises TextError."""
        try:
            return self._tokenizer.encode(text)
        except (TypeError, UnicodeEncodeError) as error:
            raise TextError(f"the label {text[:_SHOWN]!a} is not valid Unicode text; write it in UTF-8") from error

    def label(self, label: str) -> list[Encoding]:
        """Tokens of a label under each template of the bundle.

        Raises TextError for a label that is empty, not text, longer than the model takes under any template, or holds
        words that the bundle does not know; the message names them.
        """
        text = spaced(label)
        if not text:
            raise TextError("a label is empty; give it a text such as 'a person falls down'")
        if words := self.unknown_words(text):
            raise TextError(self._explain(text, words))
        encodings = [self.encode(template.replace("{}", text)) for template in self._templates]
        if any(encoding.overflowing for encoding in encodings):
            raise TextError(
                f"the label {text[:_SHOWN]!r}... has more than the model's {self._length} tokens; shorten it"
            )
        return encodings

    def unknown_words(self, text: str) -> tuple[str, ...]:
        """The words and marks of a text that the bundle does not know, each once, in the order of the text.

        Raises TextError for what is not text.
        """
        if self._unknown is None:
            return ()
        whole = self.encode(text)
        found = (
            _word_around(text, *offsets)
            for encoding in (whole, *whole.overflowing)
            for token, special, offsets in zip(
                encoding.ids, encoding.special_tokens_mask, encoding.offsets, strict=True
            )
            if token == self._unknown and not special
        )
        return tuple(dict.fromkeys(word for word in found if word))

    def _explain(self, text: str, words: Sequence[str]) -> str:
        named = ", ".join(f"{word!r}{self._hint(word)}" for word in words[:10])
        more = f" and {len(words) - 10} more" if len(words) > 10 else ""
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        return (
            f"the bundle {self._bundle.label} does not know {named}{more} in the label {shown!r}; say it in words that "
            "it knows, or use a bundle with an open vocabulary such as CLIP's"
        )

    def _hint(self, word: str) -> str:
        near = difflib.get_close_matches(word.lower(), sorted(self._words()), n=1, cutoff=0.75)
        return f" (did you mean {near[0]!r}?)" if near else ""

    def _words(self) -> Iterator[str]:
        return (word for word in self._tokenizer.get_vocab() if word.isalpha())


def _unknown_token(model: dict[str, Any]) -> int | None:
    """Id of the token that stands for everything unknown; None where there is none.

    A Unigram model names its id, every other the token itself. With `byte_fallback` nothing is unknown, and the
    token never comes out.
    """
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    vocabulary, token = model.get("vocab"), model.get("unk_token")
    found = vocabulary.get(token) if isinstance(vocabulary, dict) and token is not None else None
    return int(found) if found is not None else None


def _word_around(text: str, start: int, end: int) -> str:
    """The whole word that a span lies in; a span of marks alone stands for itself."""
    if re.search(r"\w", text[start:end]):
        while start > 0 and _inside(text[start - 1]):
            start -= 1
        while end < len(text) and _inside(text[end]):
            end += 1
    return text[start:end].strip()


def _inside(character: str) -> bool:
    return character == "'" or bool(re.match(r"\w", character))
