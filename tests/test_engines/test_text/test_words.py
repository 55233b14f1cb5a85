"""What a text tower says at each word of a text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engines.bundle.files import load, write_draft
from engines.bundle.manifest import WORDS_FILE, parse
from engines.errors import BundleError, ProbeFailed
from engines.testing import tiny_bundle
from engines.text.text_bank import TextEncoder
from engines.text.words import WordEncoder


def test_every_word_of_a_text_has_an_embedding(tmp_path: Path) -> None:
    """Without start, end and padding; the last is what text.onnx says of the whole, but for the end token."""
    bundle = load(tiny_bundle(tmp_path / "words", rule="saliency"))
    encoder = WordEncoder(bundle)
    red, long = encoder.words(["red", "a  person is blue"])
    encoder.close()
    assert [len(red), len(long)] == [1, 4]
    for words in (red, long):
        np.testing.assert_allclose(np.linalg.norm(words[-1]), 1, atol=1e-6)
    texts = TextEncoder(bundle)
    whole = texts.embed(["red", "a person is blue"])
    texts.close()
    assert red[-1] @ whole[0] > 0.98 and long[-1] @ whole[1] > 0.98


def test_words_of_another_model_are_refused(tmp_path: Path) -> None:
    """The network is probed by what it shares with text.onnx."""
    path = tiny_bundle(tmp_path / "words", rule="saliency", sealed=False)
    other = tiny_bundle(tmp_path / "other", rule="saliency", seed=1)
    (path / WORDS_FILE).write_bytes((other / WORDS_FILE).read_bytes())
    write_draft(path, parse((path / "bundle.json").read_bytes(), "bundle.json")[0])
    with pytest.raises(ProbeFailed, match=r"words\.onnx is .* off the golden probe"):
        WordEncoder(load(path, allow_draft=True))


def test_whole_windows_have_no_frames_to_pool(tmp_path: Path) -> None:
    """A clip bundle with this rule is no bundle."""
    manifest = load(tiny_bundle(tmp_path / "clip", kind="clip")).manifest.data()
    manifest["score"]["rule"] = "saliency"
    with pytest.raises(BundleError, match="saliency pools frames by words; a clip bundle has none"):
        parse(json.dumps(manifest), "bundle.json")
