"""Windows against examples: what is near, what competes, and what may not change a score."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.text.alignment import alignment_distances, frame_wise_distances
from engines.text.examples import ExampleRule, Floats, Product, Prototypes, blend, distances, prepare, score
from engines.text.similarity import proven_product

NONE = np.zeros((0, 3, 4), np.float32)
RULES = [ExampleRule(), ExampleRule(matching="alignment", smoothing=0.1)]


def one_by_one(others: Floats) -> Product:
    """Every cosine alone."""
    return lambda rows: np.asarray(np.einsum("nd,td->nt", rows, others, optimize=False), np.float32)


def sequences(seed: int, count: int, length: int = 3, dimensions: int = 4) -> Floats:
    """Random sequences of unit vectors."""
    found = np.random.default_rng(seed).normal(size=(count, length, dimensions))
    return np.asarray(found / np.linalg.norm(found, axis=-1, keepdims=True), np.float32)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.matching))
def test_distances_are_those_of_the_golden_functions(rule: ExampleRule) -> None:
    """Frame by frame, or aligned: the same numbers as `engines.text.alignment`, which golden values hold."""
    windows, examples = sequences(0, 5), sequences(1, 7)
    found = distances(prepare([Prototypes(examples, NONE)], NONE, rule, one_by_one), windows)
    other = (
        frame_wise_distances(windows, examples)
        if rule.matching == "frame-wise"
        else alignment_distances(windows, examples, rule.smoothing)
    )
    assert found == pytest.approx(other, abs=1e-5)


def test_the_nearest_example_decides_and_a_counterexample_competes() -> None:
    """A window that equals an example is likely; once it is called "not it" as well, it is no longer.

    examples {a, b}   window a -> likely      not {a'}, near a   window a -> about half, window b -> as before
    """
    a, b, far = sequences(2, 3)[:, None]
    plain = prepare([Prototypes(np.concatenate([a, b]), NONE)], NONE, ExampleRule(), one_by_one)
    likely = score(plain, np.concatenate([a, b, far]))[:, 0]
    assert likely[0] > 0.99 < likely[1] and likely[2] < 0.01
    judged = prepare([Prototypes(np.concatenate([a, b]), a)], NONE, ExampleRule(), one_by_one)
    doubted = score(judged, np.concatenate([a, b, far]))[:, 0]
    assert doubted[0] == pytest.approx(0.5, abs=0.01) and doubted[1] == pytest.approx(likely[1], abs=0.01)


def test_reference_prototypes_stand_for_everything_else() -> None:
    """With them the fixed distance plays no part: a window that is nearer to a trained class is not the label."""
    example, trained = sequences(3, 2)[:, None]
    scorer = prepare([Prototypes(example, NONE)], trained, ExampleRule(elsewhere=0.0), one_by_one)
    found = score(scorer, np.concatenate([example, trained]))[:, 0]
    assert found[0] > 0.99 and found[1] < 0.01


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4), st.integers(0, 3), st.sampled_from(RULES))
def test_a_score_knows_neither_other_labels_nor_other_windows(
    seed: int, others: int, negatives: int, rule: ExampleRule
) -> None:
    """To the bit the same alone and among others, whatever place it has."""
    knows_no_company(seed, others, negatives, rule, one_by_one)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.matching))
def test_nor_with_the_product_that_workers_use(rule: ExampleRule) -> None:
    """The one that was proven for texts: vectors of sequences are as wide."""
    knows_no_company(1, 3, 2, rule, proven_product(4) or one_by_one)


def knows_no_company(
    seed: int, others: int, negatives: int, rule: ExampleRule, product: Callable[[Floats], Product]
) -> None:
    """A label alone and one window at a time, against the label among others and all windows together."""
    label = Prototypes(sequences(seed, 2), sequences(seed + 1, negatives))
    more = [Prototypes(sequences(seed + 2 + n, 1 + n % 3), sequences(seed + 9 + n, n % 2)) for n in range(others)]
    windows, references = sequences(seed + 20, 11), sequences(seed + 30, seed % 3)
    alone = prepare([label], references, rule, product)
    among = prepare([*more, label], references, rule, product)
    together = score(among, windows)[:, -1]
    assert together.tolist() == [score(alone, window[None])[0, 0] for window in windows]


def test_beta_one_is_the_text_and_beta_zero_the_examples() -> None:
    """In between both must agree; certainty of one is no certainty of both."""
    text, examples = np.array([0.9, 0.2, 1.0], np.float32), np.array([0.1, 0.8, 0.0])
    assert blend(text, examples, 1.0) == pytest.approx(text, abs=1e-5)
    assert blend(text, examples, 0.0) == pytest.approx(examples, abs=1e-5)
    assert blend(text, examples, 0.5) == pytest.approx([0.5, 0.5, 0.5], abs=0.01)


def test_shapes_that_do_not_fit_are_refused() -> None:
    """Prototypes of another length, a label without an example, a window of another length."""
    with pytest.raises(ValueError, match="do not fit each other"):
        prepare([Prototypes(sequences(0, 2), sequences(0, 1, length=2))], NONE, ExampleRule(), one_by_one)
    with pytest.raises(ValueError, match="has no example"):
        prepare([Prototypes(sequences(0, 2), NONE), Prototypes(NONE, NONE)], NONE, ExampleRule(), one_by_one)
    with pytest.raises(ValueError, match="do not fit prototypes of 3 x 4"):
        score(prepare([Prototypes(sequences(0, 2), NONE)], NONE, ExampleRule(), one_by_one), sequences(0, 2, length=2))
