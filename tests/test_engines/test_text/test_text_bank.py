from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.bundle.arrays import write_golden
from engines.bundle.files import Bundle, load, write_draft
from engines.bundle.manifest import Score
from engines.errors import BundleError, ProbeFailed, TextError
from engines.testing import COLOURS, tiny_bundle
from engines.text.text_bank import TextEncoder, assemble, average

Copy = Callable[[Bundle], Path]
LABELS = ["red", "cyan", "a person is blue", "somebody falls", "yellow frame"]


@pytest.fixture(scope="module")
def encoder(tiny: Bundle) -> Iterator[TextEncoder]:
    """The tiny bundle's text network, two at once, nothing kept."""
    opened = TextEncoder(tiny, threads=2)
    yield opened
    opened.close()


def test_a_bank_has_an_embedding_per_label_and_template(encoder: TextEncoder, tiny: Bundle) -> None:
    """Labels and references come per template, normalised, in the order asked for."""
    bank = encoder.bank(LABELS)
    assert bank.labels == tuple(LABELS) and bank.space == tiny.manifest.space.id
    assert bank.embeddings.shape == (5, 2, 16) and bank.embeddings.dtype == np.float32
    assert bank.reference_embeddings.shape == (7, 2, 16) and bank.left_out.shape == (5, 7)
    np.testing.assert_allclose(np.linalg.norm(bank.embeddings, axis=-1), 1, atol=1e-6)


def test_labels_embed_in_every_template(encoder: TextEncoder, tiny: Bundle) -> None:
    """The embedding under a template is that of the template with the label in its place."""
    filled = [template.replace("{}", "red") for template in tiny.manifest.score.templates]
    np.testing.assert_array_equal(encoder.bank(["red"]).embeddings[0], encoder.embed(filled))


def test_a_synonym_among_the_references_is_left_out(encoder: TextEncoder) -> None:
    """`red` does not compete with the reference `red`, nor a paraphrase of blue with `blue`; cyan competes with all.

    references  grey black white red green blue yellow
    red           .    .     .    X    .    .     .
    cyan          .    .     .    .    .    .     .
    blue          .    .     .    .    .    X     .
    """
    bank = encoder.bank(["red", "cyan", "a person is blue"])
    left_out = [[bank.references[i] for i in np.flatnonzero(row)] for row in bank.left_out]
    assert left_out == [["red"], [], ["blue"]]


@settings(max_examples=20)
@given(order=st.lists(st.sampled_from(LABELS), min_size=1, max_size=8))
def test_a_label_never_depends_on_the_others(encoder: TextEncoder, order: list[str]) -> None:
    """Adding, removing or reordering labels changes no bit of any other label's embedding or competitors."""
    alone = {label: encoder.bank([label]) for label in LABELS}
    bank = encoder.bank(order)
    for index, label in enumerate(order):
        np.testing.assert_array_equal(bank.embeddings[index], alone[label].embeddings[0])
        np.testing.assert_array_equal(bank.left_out[index], alone[label].left_out[0])


def test_many_labels_share_one_averaged_embedding_each(encoder: TextEncoder, tiny: Bundle) -> None:
    """Above the limit a label has one embedding, the normalised mean over its templates, and so has a reference."""
    embeddings = encoder.embed_labels(LABELS)
    references = tiny.references()
    score = Score(logit_scale=20, templates=("{}", "video of {}"), per_template_limit=4)
    above = assemble("space", LABELS, embeddings, references, score)
    at_limit = assemble("space", LABELS[:4], embeddings[:4], references, score)
    assert above.embeddings.shape == (5, 1, 16) and at_limit.embeddings.shape == (4, 2, 16)
    mean = embeddings.mean(axis=1)
    np.testing.assert_allclose(above.embeddings[:, 0], mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(above.reference_embeddings[:, 0], average(references.embeddings))
    np.testing.assert_array_equal(above.left_out[:4], at_limit.left_out)


def test_no_labels_make_an_empty_bank(encoder: TextEncoder) -> None:
    """A deployment that watches nothing yet is no error."""
    bank = encoder.bank([])
    assert bank.embeddings.shape == (0, 2, 16) and bank.left_out.shape == (0, 7)


def test_spaces_around_a_label_do_not_count(encoder: TextEncoder) -> None:
    """A stray space or line break in a config file does not make another label."""
    np.testing.assert_array_equal(
        encoder.bank(["  a person\n is  blue "]).embeddings, encoder.bank(["a person is blue"]).embeddings
    )


def test_braces_in_a_label_are_text(encoder: TextEncoder) -> None:
    """A label is put into its template as it is, whatever it looks like: what this bundle lacks is named as written."""
    with pytest.raises(TextError, match=r"does not know '\{', '\}', '\{\}' in the label '\{0\} \{\} \{label\}'"):
        encoder.bank(["{0} {} {label}"])


@pytest.mark.parametrize(
    ("label", "reason"),
    [("", "empty"), (" \n", "empty"), ("red " * 80, "more than the model's 64"), ("\ud800", "Unicode")],
)
def test_a_label_that_cannot_be_embedded_is_named(
    encoder: TextEncoder, tiny: Bundle, tmp_path: Path, label: str, reason: str
) -> None:
    """An empty, over-long or broken label is refused with its reason, with and without a cache."""
    with pytest.raises(TextError, match=reason):
        encoder.bank(["red", label])
    with pytest.raises(TextError, match=reason):
        TextEncoder(tiny, cache=tmp_path).bank([label])


@pytest.mark.parametrize("label", ["человек падает", "人が倒れる", "🙂", "\x00"])
def test_a_label_in_unknown_words_is_refused_and_a_text_is_not(encoder: TextEncoder, label: str) -> None:
    """Nobody watches for a label that the model reads as another; a text as it is only embeds as unknown."""
    with pytest.raises(TextError, match="does not know"):
        encoder.bank(["red", label])
    assert np.isfinite(encoder.embed([label])).all()


def test_texts_map_near_their_colours(encoder: TextEncoder, tiny: Bundle) -> None:
    """Every colour's text is nearest to itself among all colours."""
    embedded = encoder.embed(list(COLOURS))
    np.testing.assert_array_equal(np.argmax(embedded @ embedded.T, axis=1), np.arange(len(COLOURS)))


def test_a_text_is_embedded_once(tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start reads from disk what the first embedded, bit for bit, and runs the network for new labels only."""
    first = TextEncoder(tiny, cache=tmp_path).bank(LABELS)
    again = TextEncoder(tiny, cache=tmp_path)
    np.testing.assert_array_equal(again.bank(LABELS).embeddings, first.embeddings)
    assert not again.opened, "nothing was missing, so the network was not even read"
    again.embed(["blue"])
    ran: list[int] = []
    monkeypatch.setattr(again, "_network", _Counting(again._network, ran))
    again.bank([*LABELS, "green"])
    assert ran == [2]


def test_a_network_that_was_released_is_opened_again(tiny: Bundle) -> None:
    """Closing costs the next text a moment, and changes no bit of it."""
    encoder = TextEncoder(tiny)
    first = encoder.bank(["red"])
    encoder.close()
    encoder.close()
    assert not encoder.opened
    np.testing.assert_array_equal(encoder.bank(["red"]).embeddings, first.embeddings)
    assert encoder.opened
    encoder.close()


def test_the_cache_keeps_spaces_and_templates_apart(tiny: Bundle, tmp_path: Path) -> None:
    """Another network or another template set never finds this one's embeddings."""
    cache = tmp_path / "cache"
    banks = [TextEncoder(tiny, cache=cache).bank(["red"])]
    for index, changes in enumerate(({"seed": 3}, {"templates": ("{}", "a {}")})):
        bundle = load(tiny_bundle(tmp_path / str(index), **changes))  # type: ignore[arg-type]
        banks.append(TextEncoder(bundle, cache=cache).bank(["red"]))
        np.testing.assert_array_equal(banks[-1].embeddings, TextEncoder(bundle).bank(["red"]).embeddings)
    assert len(list(cache.rglob("*.npy"))) == 3


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x93NUMPY\x01\x00"])
def test_a_damaged_cache_file_is_replaced(tiny: Bundle, tmp_path: Path, content: bytes) -> None:
    """Half a file after a crash costs one embedding, not the worker."""
    expected = TextEncoder(tiny, cache=tmp_path).bank(["red"])
    (file,) = tmp_path.rglob("*.npy")
    file.write_bytes(content)
    np.testing.assert_array_equal(TextEncoder(tiny, cache=tmp_path).bank(["red"]).embeddings, expected.embeddings)
    assert np.load(file).shape == (2, 16)


def test_a_cache_that_cannot_be_written_is_done_without(tiny: Bundle, tmp_path: Path) -> None:
    """A file where the cache folder should be costs time at the next start, nothing else."""
    (tmp_path / "texts").write_text("in the way")
    assert TextEncoder(tiny, cache=tmp_path).bank(["red"]).embeddings.shape == (1, 2, 16)


def test_other_answers_than_the_golden_ones_stop_the_encoder(tiny: Bundle, copy: Copy) -> None:
    """A text network that answers differently from the export is not used."""
    path = copy(tiny)
    golden = tiny.golden()
    write_golden(path, replace(golden, text_embeddings=golden.text_embeddings[::-1]))
    write_draft(path, tiny.manifest)
    encoder = TextEncoder(load(path, allow_draft=True))
    for _ in range(2):
        with pytest.raises(ProbeFailed, match="text is"):
            encoder.bank(["red"])
        assert not encoder.opened, "it is not used by a second attempt either"


def test_a_text_network_is_proven_once_on_a_host(
    tiny: Bundle, copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any text needs it: the first process opens it for that, the next ones need not.

    encoder      first     second    of another probe    the same again
    prove        opens     -         refuses             refuses
    """
    monkeypatch.setenv("ACTIONWIRE_CACHE", str(tmp_path / "host"))
    first, second = TextEncoder(tiny), TextEncoder(tiny)
    first.prove()
    second.prove()
    assert first.opened and not second.opened
    first.close()
    path, golden = copy(tiny), tiny.golden()
    write_golden(path, replace(golden, text_embeddings=golden.text_embeddings[::-1]))
    write_draft(path, tiny.manifest)
    other = TextEncoder(load(path, allow_draft=True))
    for _ in range(2):
        with pytest.raises(ProbeFailed, match="text is"):
            other.prove()
        assert not other.opened


def test_a_text_network_that_is_none_is_noticed_when_it_is_proven(tiny: Bundle, copy: Copy) -> None:
    """Not by the first label that somebody adds, weeks later."""
    path = copy(tiny)
    (path / "text.onnx").write_bytes(b"no network")
    write_draft(path, tiny.manifest)
    with pytest.raises(BundleError, match=r"text\.onnx does not load"):
        TextEncoder(load(path, allow_draft=True)).prove()


@pytest.mark.parametrize("content", ["{}", "garbage"])
def test_a_tokenizer_that_does_not_load_is_a_bundle_error(tiny: Bundle, copy: Copy, content: str) -> None:
    """The library's own error is translated, and the file named."""
    path = copy(tiny)
    (path / "tokenizer.json").write_text(content)
    write_draft(path, tiny.manifest)
    with pytest.raises(BundleError, match=r"tokenizer\.json"):
        TextEncoder(load(path, allow_draft=True))


def test_a_tokenizer_of_another_length_is_a_bundle_error(tiny: Bundle, copy: Copy) -> None:
    """Tokens that do not fit the text network are noticed before it runs."""
    path = copy(tiny)
    text = tiny.manifest.text.model_copy(update={"context_length": 32})
    write_draft(path, tiny.manifest.model_copy(update={"text": text}))
    with pytest.raises(BundleError, match=r"64 tokens, .* takes 32"):
        TextEncoder(load(path, allow_draft=True)).bank(["red"])


class _Counting:
    """A network that notes how many rows it ran."""

    def __init__(self, network: object, ran: list[int]) -> None:
        self._network = network
        self._ran = ran

    def run(self, rows: np.ndarray) -> object:  # type: ignore[type-arg]
        self._ran.append(len(rows))
        return self._network.run(rows)  # type: ignore[attr-defined]
