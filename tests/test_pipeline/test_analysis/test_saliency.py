"""Frames pooled by the words of each text: the published formula, and no result that depends on its mates."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.text.similarity import proven_product
from pipeline.analysis import saliency, scoring
from pipeline.analysis.saliency import Salient, prepare_words
from pipeline.analysis.scoring import ScoreRule, one_by_one

Floats = npt.NDArray[np.float32]
WIDTH, FRAMES = 16, 5
RULE = ScoreRule("softmax", 20.0, None, 0.7)
random = np.random.default_rng(0)
TEXTS = random.normal(size=(9, WIDTH)).astype(np.float32)
TEXTS /= np.linalg.norm(TEXTS, axis=1, keepdims=True)
WORDS = [random.normal(size=(1 + number % 4, WIDTH)).astype(np.float32) for number in range(len(TEXTS))]
WORDS = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in WORDS]
ITEMS = (random.normal(size=(7, FRAMES, WIDTH)) * random.uniform(0.2, 5, (7, FRAMES, 1))).astype(np.float32)
REFERENCES = [6, 7, 8]


def prepared(labels: Sequence[int], product: object = one_by_one) -> Salient:
    """Some of the texts as labels; the last three are references."""
    left_out = np.zeros((len(labels), len(REFERENCES)), np.bool_)
    scorer = scoring.prepare(
        TEXTS[list(labels), None],
        TEXTS[REFERENCES, None],
        left_out,
        [None] * len(labels),
        RULE,
        product,  # type: ignore[arg-type]
    )
    return prepare_words(scorer, [WORDS[one] for one in (*labels, *REFERENCES)], product)  # type: ignore[arg-type]


def published(window: Floats, words: Floats, text: Floats) -> float:
    """The formula, word by word and frame by frame, in double precision."""
    frames = window.astype(np.float64)
    units = frames / np.linalg.norm(frames, axis=1, keepdims=True)
    shares = np.zeros(len(frames))
    for word in words.astype(np.float64):
        sharp = np.exp((units @ word) / 0.01 - ((units @ word) / 0.01).max())
        shares += sharp / sharp.sum() / len(words)
    pooled = shares @ frames
    return float(pooled @ text / np.linalg.norm(pooled))


def test_cosines_are_those_of_the_published_formula() -> None:
    """Labels and references alike, whatever the lengths of items and however many words a text has."""
    labels, references = saliency.cosines(prepared(range(6)), ITEMS)
    assert labels.shape == (7, 6, 1) and references.shape == (7, 3, 1)
    for row, window in enumerate(ITEMS):
        expected = [published(window, words, text) for words, text in zip(WORDS, TEXTS, strict=True)]
        np.testing.assert_allclose(np.concatenate([labels[row], references[row]])[:, 0], expected, atol=1e-5)


def test_one_frame_that_shows_the_word_decides() -> None:
    """A window of something else with one frame of the label scores as that frame, where its mean would not."""
    text = TEXTS[0]
    other = TEXTS[1] - (TEXTS[1] @ text) * text
    window = np.stack([other, other, 3 * text, other, other])[None].astype(np.float32)
    scorer = prepared([0]).scorer
    shown = prepare_words(scorer, [text[None], *(WORDS[one] for one in REFERENCES)])
    assert saliency.cosines(shown, window)[0][0, 0, 0] > 0.999
    mean = window.mean(axis=1)
    assert scoring.cosines(scorer, mean / np.linalg.norm(mean))[0][0, 0, 0] < 0.8


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=7),
    st.lists(st.integers(0, 5), min_size=1, max_size=6, unique=True),
    st.booleans(),
)
def test_no_score_depends_on_other_windows_or_labels(rows: list[int], labels: list[int], fast: bool) -> None:
    """Bit for bit, with the plain product and with the proven one."""
    product = (proven_product(WIDTH) if fast else None) or one_by_one
    whole = saliency.score(prepared(range(6), product), ITEMS)
    np.testing.assert_array_equal(saliency.score(prepared(labels, product), ITEMS[rows]), whole[np.ix_(rows, labels)])


def test_nothing_in_nothing_out() -> None:
    """No windows, or no labels."""
    assert saliency.score(prepared([0, 1]), ITEMS[:0]).shape == (0, 2)
    assert saliency.score(prepared([]), ITEMS).shape == (7, 0)


def test_words_that_do_not_fit_are_refused() -> None:
    """Of too few texts, a text without words, and items of another width."""
    scorer = prepared([0, 1]).scorer
    for words in (WORDS[:4], [*WORDS[:4], np.zeros((0, WIDTH), np.float32)]):
        with pytest.raises(ValueError, match="do not fit"):
            prepare_words(scorer, words)
    with pytest.raises(ValueError, match="do not fit texts of 16 dimensions"):
        saliency.cosines(prepared([0]), ITEMS[..., :8])
