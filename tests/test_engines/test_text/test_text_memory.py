"""The label texts in use, in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from engines.bundle.files import Bundle, load
from engines.errors import TextError
from engines.testing import tiny_bundle
from engines.text.text_bank import TextEncoder
from engines.text.text_memory import TextMemory

LABELS = ["red", "cyan", "a person is blue"]


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is looked up on disk or embedded."""
    found: list[str] = []
    embed = TextEncoder.embed_labels

    def embed_labels(encoder: TextEncoder, labels: Sequence[str]) -> object:
        found.extend(labels)
        return embed(encoder, labels)

    monkeypatch.setattr(TextEncoder, "embed_labels", embed_labels)
    return found


def test_a_bank_is_the_encoders(tiny: Bundle) -> None:
    """Remembering changes no bit, whichever sets came before."""
    memory, encoder = TextMemory(tiny, threads=1), TextEncoder(tiny, threads=1)
    for labels in (LABELS, [*LABELS, "green"], ["green", " red "], [], LABELS[::-1]):
        bank, expected = memory.bank(labels), encoder.bank(labels)
        assert bank.labels == expected.labels and bank.references == expected.references
        for name in ("embeddings", "reference_embeddings", "left_out"):
            one, other = getattr(bank, name), getattr(expected, name)
            assert (one.shape, one.dtype, one.tobytes()) == (other.shape, other.dtype, other.tobytes())
    memory.close()
    encoder.close()


def test_only_new_texts_are_looked_up(tiny: Bundle, looked_up: list[str]) -> None:
    """A label that is added costs one text; spaces make no other text; what a set lacks is forgotten.

    set        red cyan    red cyan green    green "red "    cyan
    looked up  red cyan    green             -               cyan
    """
    memory = TextMemory(tiny, threads=1)
    for labels, new in (
        (["red", "cyan"], ["red", "cyan"]),
        (["red", "cyan", "green"], ["green"]),
        (["green", "red "], []),
        (["cyan"], ["cyan"]),
    ):
        looked_up.clear()
        memory.bank(labels)
        assert looked_up == new
    memory.close()


def test_many_labels_are_kept_as_one_embedding_each(tmp_path: Path, looked_up: list[str]) -> None:
    """Above the limit the embeddings under each template are let go; below it again they are looked up anew."""
    bundle = load(tiny_bundle(tmp_path / "tiny"))
    score = bundle.manifest.score.model_copy(update={"per_template_limit": 2})
    few = type(bundle)(bundle.path, bundle.manifest.model_copy(update={"score": score}))
    memory = TextMemory(few, threads=1)

    assert memory.bank(LABELS).embeddings.shape == (3, 1, 16)
    assert all(text.templates is None for text in memory._texts.values())
    looked_up.clear()
    assert memory.bank(LABELS[:2]).embeddings.shape == (2, 2, 16) and looked_up == LABELS[:2]
    looked_up.clear()
    assert memory.bank(LABELS).embeddings.shape == (3, 1, 16) and looked_up == LABELS[2:]
    memory.close()


def test_the_network_rests_where_no_text_is_new(tiny: Bundle) -> None:
    """A minute after the last new text it is released; a set without new texts does not open it.

    seconds   0      59     60        61                       62
    bank      red                     red (known)              red, cyan
    network   open   open   released  released                 open
    """
    now = [0.0]
    memory = TextMemory(tiny, threads=1, monotonic=lambda: now[0])
    network = memory._encoder
    memory.bank(["red"])
    for seconds, opened in ((59, True), (60, False)):
        now[0] = seconds
        memory.rest(60)
        assert network.opened is opened
    memory.bank(["red"])
    assert not network.opened
    memory.bank(["red", "cyan"])
    assert network.opened
    memory.close()
    assert not network.opened


def test_a_set_that_is_given_up_half_way_changes_nothing(tiny: Bundle, looked_up: list[str]) -> None:
    """Whoever watches the progress may end it; the set before is still known."""
    memory = TextMemory(tiny, threads=1)
    memory.bank(["red"])

    def over(labels: Sequence[str]) -> Iterator[str]:
        yield labels[0]
        raise InterruptedError

    with pytest.raises(InterruptedError):
        memory.bank(["cyan", "green"], over)
    with pytest.raises(TextError, match="empty"):
        memory.bank([""])
    looked_up.clear()
    memory.bank(["red"])
    assert looked_up == []
    memory.close()
