"""The scoring rule over stored cosines, and the temperature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainer.calibration.temperature import ScoreRule, Windows, fit_temperature, probabilities

RULE = ScoreRule("softmax", 10.0, 0.0, 1.0, np.array([[True, False, True], [True, True, False]]))


def test_a_label_competes_with_the_references_that_are_no_synonyms_of_it() -> None:
    """One template, by hand: the softmax over the label and the references left in."""
    label, reference = np.array([[[0.2], [0.1]]], np.float32), np.array([[[0.3], [0.9], [0.0]]], np.float32)
    weight = {cosine: np.exp(10 * cosine) for cosine in (0.2, 0.1, 0.3, 0.9, 0.0)}
    expected = [
        weight[0.2] / (weight[0.2] + weight[0.3] + weight[0.0]),
        weight[0.1] / (weight[0.1] + weight[0.3] + weight[0.9]),
    ]
    assert probabilities(label, reference, RULE)[0] == pytest.approx(expected, rel=1e-5)


def test_templates_are_averaged_as_probabilities() -> None:
    """Two templates give the mean of what each would give alone."""
    rng = np.random.default_rng(0)
    label, reference = (rng.uniform(-1, 1, (5, count, 2)).astype(np.float32) for count in (2, 3))
    alone = [probabilities(label[..., at : at + 1], reference[..., at : at + 1], RULE) for at in range(2)]
    assert probabilities(label, reference, RULE) == pytest.approx(np.mean(alone, axis=0))


def test_a_sigmoid_knows_no_competitors() -> None:
    """Scale, bias and temperature, label by label."""
    rule = replace(RULE, function="sigmoid", bias=-2.0, temperature=2.0)
    label = np.array([[[0.5], [0.1]]], np.float32)
    expected = 1 / (1 + np.exp(-(10 * np.array([0.5, 0.1]) - 2) / 2))
    assert probabilities(label, np.zeros((1, 3, 1), np.float32), rule)[0] == pytest.approx(expected, rel=1e-5)


def test_overconfident_scores_are_cooled_and_the_lag_is_found() -> None:
    """Logits drawn so that temperature 1 is honest and then tripled give a temperature of about three."""
    rng = np.random.default_rng(1)
    lag, rate, n = 1.0, 4, 4000
    seconds = np.arange(n) / rate
    truth: dict[int, list[tuple[float, float]]] = {0: [], 1: []}
    cosine = np.zeros((n, 2, 1), np.float32)
    for label in range(2):
        logit = np.repeat(rng.normal(0.0, 1.5, n // 8), 8)
        on = rng.random(n // 8) < 1 / (1 + np.exp(-logit[::8]))
        truth[label] = [(block * 2 - lag, block * 2 + 2 - lag) for block in np.flatnonzero(on)]
        cosine[:, label, 0] = 3.0 * logit / 10.0
    rule = replace(RULE, competes=np.array([[True], [True]]))
    found = fit_temperature([Windows(seconds, cosine, np.zeros((n, 1, 1), np.float32), truth)], rule, rate, 8)
    assert found.value == pytest.approx(3.0, rel=0.15)
    assert found.lag == lag
    assert found.loss < found.loss_at_one
