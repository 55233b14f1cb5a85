"""From embeddings to probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis.scoring import Scorer, ScoreRule, score
from pipeline.analysis.scoring import prepare as prepare_with

RULE = ScoreRule("softmax", 100.0, None, 1.0)


def prepare(labels: Any, references: Any, groups: Sequence[str | None], rule: ScoreRule) -> Scorer:
    """Labels with no synonym among the references."""
    return prepare_with(labels, references, np.zeros((len(labels), len(references)), np.bool_), groups, rule)


def unit(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Random directions."""
    values = np.random.default_rng(seed).standard_normal(shape)
    directions: npt.NDArray[np.float32] = (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)
    return directions


def expected(
    rule: ScoreRule, window: npt.NDArray[np.float32], label: npt.NDArray[np.float32], others: npt.NDArray[np.float32]
) -> float:
    """The formula, for one window [D], one label [P, D] and its competitors [c, P, D]."""
    total = 0.0
    for template in range(label.shape[0]):
        own = rule.logit_scale * float(window @ label[template]) / rule.temperature
        rest = rule.logit_scale * (others[:, template] @ window).astype(float) / rule.temperature
        total += 1.0 / (1.0 + float(np.exp(rest - own).sum()))
    return total / label.shape[0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_a_label_competes_with_the_references_under_every_template(temperature: float) -> None:
    """Without a group the softmax is over the label and the references; templates' probabilities are averaged."""
    rule = replace(RULE, temperature=temperature, logit_scale=20.0)
    labels, references, windows = unit(3, 4, 16, seed=1), unit(5, 4, 16, seed=2), unit(7, 16, seed=3)

    found = score(prepare(labels, references, [None] * 3, rule), windows)

    wanted = [[expected(rule, window, label, references) for label in labels] for window in windows]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    assert found.dtype == np.float32


def test_members_of_a_group_compete_with_each_other() -> None:
    """A group of all labels is ActionCLIP's softmax with the references beside it; a group of one changes nothing."""
    rule = replace(RULE, logit_scale=10.0)
    labels, references, windows = unit(4, 2, 16, seed=1), unit(3, 2, 16, seed=2), unit(5, 16, seed=3)

    found = score(prepare(labels, references, ["all", None, "all", "alone"], rule), windows)

    for row, window in enumerate(windows):
        rivals = {
            0: np.concatenate([labels[[2]], references]),
            1: references,
            2: np.concatenate([labels[[0]], references]),
            3: references,
        }
        wanted = [expected(rule, window, labels[column], others) for column, others in rivals.items()]
        np.testing.assert_allclose(found[row], wanted, rtol=1e-4)


def test_every_member_of_a_large_group_competes_with_all_others() -> None:
    """The sums over the others come from a pass forward and one back, and leave neither the first nor the last out."""
    rule = replace(RULE, logit_scale=10.0)
    labels, references, windows = unit(40, 2, 16, seed=1), unit(3, 2, 16, seed=2), unit(2, 16, seed=3)
    members = [number for number in range(40) if number % 3]

    found = score(prepare(labels, references, ["g" if n in members else None for n in range(40)], rule), windows)

    for row, window in enumerate(windows):
        for column in members:
            others = labels[[member for member in members if member != column]]
            wanted = expected(rule, window, labels[column], np.concatenate([others, references]))
            np.testing.assert_allclose(found[row, column], wanted, rtol=1e-4)


def test_a_reference_that_means_the_same_does_not_compete() -> None:
    """References that are left out for a label do not count for it, but never all of them."""
    labels, references, windows = unit(2, 1, 16, seed=1), unit(3, 1, 16, seed=2), unit(3, 16, seed=3)
    left_out = np.array([[False, True, False], [True, True, True]])
    rule = replace(RULE, logit_scale=10.0)

    found = score(prepare_with(labels, references, left_out, [None, None], rule), windows)

    without = score(prepare(labels[:1], references[[0, 2]], [None], rule), windows)
    whole = score(prepare(labels[1:], references, [None], rule), windows)
    np.testing.assert_allclose(found, np.concatenate([without, whole], axis=1), rtol=1e-6)


def test_a_sigmoid_bundle_has_no_competitors() -> None:
    """SigLIP's probability is the sigmoid of scale times cosine plus bias."""
    rule = ScoreRule("sigmoid", 110.0, -12.9, 1.0)
    labels, windows = unit(2, 1, 16, seed=1), unit(4, 16, seed=3)

    found = score(prepare(labels, unit(3, 1, 16, seed=2), ["all", "all"], rule), windows)

    cosine = windows.astype(float) @ labels[:, 0].astype(float).T
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-(110.0 * cosine - 12.9))), rtol=1e-3)


@pytest.mark.parametrize("temperature", [0.01, 0.05])
def test_extreme_scales_stay_between_zero_and_one(temperature: float) -> None:
    """However sharp the softmax, no probability is NaN."""
    labels, references = unit(3, 2, 16, seed=1), unit(4, 2, 16, seed=2)
    windows = np.concatenate([labels[0], references[0], -references[0]])

    found = score(prepare(labels, references, ["all", "all", None], replace(RULE, temperature=temperature)), windows)

    assert ((found >= 0) & (found <= 1)).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 20),
    st.sampled_from([(5, 1), (16, 3), (100, 2), (129, 16), (512, 4)]),
    st.integers(1, 12),
    st.integers(1, 9),
    st.sampled_from(["softmax", "sigmoid"]),
    st.floats(0, 1),
    st.randoms(use_true_random=False),
)
def test_no_score_depends_on_its_company(n, width, count, references, function, synonyms, random) -> None:
    """Alone or in any batch, with any other labels around, in any order: the same bits.

    synonyms: how many of the references each label leaves out, on average. Labels with the same ones share a mask.
    """
    dimensions, templates = width
    rule = replace(RULE, function=function, logit_bias=-1.0 if function == "sigmoid" else None)
    windows = unit(n, dimensions, seed=n)
    labels, texts = unit(count, templates, dimensions, seed=7), unit(references, templates, dimensions, seed=8)
    left_out = np.random.default_rng(n).random((count, references)) < synonyms
    whole = score(prepare_with(labels, texts, left_out, [None] * count, rule), windows)

    rows, columns = sorted(random.sample(range(n), random.randint(1, n))), list(range(count))
    random.shuffle(columns)
    columns = columns[: random.randint(1, count)]
    part = score(prepare_with(labels[columns], texts, left_out[columns], [None] * len(columns), rule), windows[rows])

    assert part.tobytes() == np.ascontiguousarray(whole[np.ix_(rows, columns)]).tobytes()


def test_a_group_is_not_touched_by_labels_outside_of_it() -> None:
    """Adding a label of no group or of another one leaves a group's scores alone, bit for bit."""
    labels, references, windows = unit(6, 3, 64, seed=1), unit(4, 3, 64, seed=2), unit(5, 64, seed=3)

    before = score(prepare(labels[:3], references, ["a", "a", "a"], RULE), windows)
    after = score(prepare(labels, references, ["a", "a", "a", None, "b", "b"], RULE), windows)

    assert before.tobytes() == np.ascontiguousarray(after[:, :3]).tobytes()


def test_no_labels_and_no_windows_are_fine() -> None:
    """Nothing to watch for gives no columns; no windows give no rows."""
    references = unit(2, 2, 8)

    assert score(prepare(unit(0, 2, 8), references, [], RULE), unit(3, 8)).shape == (3, 0)
    assert score(prepare(unit(2, 2, 8), references, [None, None], RULE), np.zeros((0, 8), np.float32)).shape == (0, 2)


def test_shapes_that_do_not_fit_are_refused() -> None:
    """Another width, other templates, a missing group or no reference are programming errors, and said so."""
    for labels, references, groups in (
        (unit(2, 2, 8), unit(2, 3, 8), [None, None]),
        (unit(2, 2, 8), unit(0, 2, 8), [None, None]),
        (unit(2, 2, 8), unit(2, 2, 8), [None]),
    ):
        with pytest.raises(ValueError):
            prepare(labels, references, groups, RULE)
    with pytest.raises(ValueError, match="mask"):
        prepare_with(unit(2, 2, 8), unit(2, 2, 8), np.zeros((2, 3), np.bool_), [None, None], RULE)
    with pytest.raises(ValueError, match="8 dimensions"):
        score(prepare(unit(2, 2, 8), unit(2, 2, 8), [None, None], RULE), unit(3, 9))
