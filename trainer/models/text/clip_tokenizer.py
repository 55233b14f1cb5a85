"""Any open_clip tokenizer as one `tokenizer.json` that needs neither open_clip nor torch.

The file holds everything: cleaning (`trainer.models.text.cleaning` says which texts are excepted), the split into
words, the vocabulary, start and end tokens, truncation and padding to the context length. Its ids equal those of
open_clip's own tokenizer, with one more exception: a special token written out in a text is one token here wherever it
stands, there only where no punctuation stands directly before it.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import Normalizer, Sequence
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as Steps
from tokenizers.processors import TemplateProcessing

from trainer.errors import PretrainedError
from trainer.models.text.cleaning import Cleaning, cleaning

START, END = "<start_of_text>", "<end_of_text>"
_MERGES = 49152 - 256 - 2
"""CLIP's vocabulary less the bytes and the two special tokens: so many lines of the merge list count."""

_WORDS = rf"(?i){START}|{END}|'s|'t|'re|'ve|'m|'ll|'d|\p{{L}}+|\p{{N}}|[^\s\p{{L}}\p{{N}}]+"


def clip_tokenizer(context: int, merges: Path | None = None, kind: Cleaning = "lower") -> Tokenizer:
    """CLIP's byte-pair tokenizer, ids padded with 0 to `context`.

    merges: the gzip file of merges, open_clip's own (`bpe_simple_vocab_16e6.txt.gz`) unless given.
    kind: open_clip's name of the cleaning.
    """
    lines = gzip.decompress((merges or _shipped_merges()).read_bytes()).decode().split("\n")
    pairs = [(first, second) for first, second in (line.split() for line in lines[1 : _MERGES + 1])]
    letters = _byte_letters()
    words = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        *(first + second for first, second in pairs),
        START,
        END,
    ]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(BPE(vocabulary, pairs, end_of_word_suffix="</w>", fuse_unk=False))
    tokenizer.normalizer = cleaning(kind)
    tokenizer.pre_tokenizer = Steps(
        [Split(Regex(_WORDS), "removed", invert=True), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=True) for token in (START, END)])
    tokenizer.post_processor = TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, vocabulary[START]), (END, vocabulary[END])]
    )
    tokenizer.enable_truncation(context)
    tokenizer.enable_padding(pad_id=0, pad_token=letters[0], length=context)
    return tokenizer


def _shipped_merges() -> Path:
    from open_clip.tokenizer import default_bpe

    return Path(default_bpe())


def _byte_letters() -> list[str]:
    """The printable letters that stand for the 256 bytes, in the order of the vocabulary: printable ones themselves."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in shown] + [chr(256 + place) for place in range(256 - len(shown))]


def convert(tokenizer: Any) -> Tokenizer:
    """The `tokenizers` form of what `open_clip.get_tokenizer` returned.

    Raises PretrainedError for a tokenizer that is no fast one, or for a mode that cannot be expressed.
    """
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    if isinstance(tokenizer, SimpleTokenizer):
        if tokenizer.reduction_fn is not None or len(tokenizer.all_special_ids) != 2:
            raise PretrainedError("the tokenizer drops words at random or has tokens of its own; only CLIP's is known")
        return clip_tokenizer(tokenizer.context_length, kind=_cleaning_of(tokenizer))
    if not isinstance(tokenizer, HFTokenizer):
        raise PretrainedError(
            f"a {type(tokenizer).__name__} cannot be converted; put the model's tokenizer.json into a local-dir: folder"
        )
    if tokenizer.tokenizer_mode or tokenizer.strip_sep_token:
        raise PretrainedError("the tokenizer modes `clips` and `strip_sep_token` cannot be expressed in tokenizer.json")
    return _from_transformers(tokenizer.tokenizer, tokenizer.context_length, _cleaning_of(tokenizer))


def _cleaning_of(tokenizer: Any) -> Cleaning:
    return {"_clean_canonicalize": "canonicalize", "_clean_whitespace": "whitespace"}.get(  # type: ignore[return-value]
        tokenizer.clean_fn.__name__, "lower"
    )


def _from_transformers(wrapped: Any, context: int, kind: Cleaning) -> Tokenizer:
    backend = getattr(wrapped, "backend_tokenizer", None)
    if backend is None:
        raise PretrainedError(
            f"{type(wrapped).__name__} has no tokenizer.json; save a fast tokenizer into the checkpoint's folder"
        )
    if wrapped.pad_token_id is None:
        raise PretrainedError("the tokenizer names no padding token; set pad_token in its tokenizer_config.json")
    data = json.loads(backend.to_str())
    if kind == "canonicalize":
        # Cleaning takes the punctuation out of a written special token; here they would be found before the cleaning.
        known = _model_words(data["model"])
        data["added_tokens"] = [
            token for token in data["added_tokens"] if token["content"] not in known or token["content"].isalnum()
        ]
    tokenizer = Tokenizer.from_str(json.dumps(data))
    inner = tokenizer.normalizer
    steps: list[Normalizer] = [cleaning(kind)] if inner is None else [cleaning(kind), inner]
    tokenizer.normalizer = Sequence(steps)
    tokenizer.enable_truncation(context, direction=wrapped.truncation_side)
    tokenizer.enable_padding(
        length=context,
        direction=wrapped.padding_side,
        pad_id=wrapped.pad_token_id,
        pad_token=wrapped.pad_token,
        pad_type_id=wrapped.pad_token_type_id,
    )
    return tokenizer


def _model_words(model: dict[str, Any]) -> set[str]:
    # A Unigram vocabulary is a list of [word, score], every other a map from word to id.
    return {entry if isinstance(entry, str) else entry[0] for entry in model["vocab"]}
